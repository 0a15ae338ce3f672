"""Schemas of the Hugging Face dialect: what `InferenceClient` and `@huggingface/inference` send."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, StrictBool, StrictInt, Tag

from service.dialects import contested
from service.dialects.strict import Strict

LONGEST_TEMPLATE = 1_000  # characters, which every candidate label repeats


class TextPair(Strict):
    """Two texts that are judged together."""

    text: str
    text_pair: str | None = None


class Question(Strict):
    """A question about a context."""

    question: str
    context: str


class Questions(Strict):
    """Several questions, about one context or each about its own."""

    question: Annotated[list[str], Field(min_length=1, fail_fast=True)]
    context: str | Annotated[list[str], Field(fail_fast=True)]


Two = Annotated[list[str], Field(min_length=2, max_length=2, fail_fast=True)]


def _form(given: object) -> str:
    """Which of the forms of `Inputs` is meant: so an error tells of one form, not of all."""
    many = isinstance(given, list)
    first = given[0] if isinstance(given, list) and given else given
    if not isinstance(first, dict):
        return "list of texts" if many else "one text"
    if "question" in first or "context" in first:
        return "list of questions" if many else "lists" if isinstance(first.get("question"), list) else "one question"
    return "list of texts" if many else "one pair"


Inputs = Annotated[
    Annotated[str, Tag("one text")]
    | Annotated[TextPair, Tag("one pair")]
    | Annotated[Question, Tag("one question")]
    | Annotated[Questions, Tag("lists")]
    | Annotated[list[Question], Field(min_length=1, fail_fast=True), Tag("list of questions")]
    | Annotated[list[str | TextPair | Two], Field(min_length=1, fail_fast=True), Tag("list of texts")],
    Discriminator(_form),
]


class Parameters(Strict):
    """The parameters of every task; those of another task are ignored, as the pipelines do.

    `padding` and `batch_size` are accepted and change nothing: inputs are batched with everyone's.
    `max_question_len` has no effect in the pipeline either.
    """

    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    return_all_scores: StrictBool | None = Field(
        None, description="Without `top_k`: true, the default, gives all labels; false gives only the best one"
    )
    top_k: StrictInt | None = Field(None, ge=1, le=10_000)
    max_length: StrictInt | None = Field(
        None, ge=8, le=100_000, description="Tokens to which texts are cut, if the model takes more"
    )
    truncation: StrictBool | Literal["longest_first", "only_first", "only_second", "do_not_truncate"] | None = Field(
        None, description="Texts that are too long are cut by default; `false` and `do_not_truncate` refuse them"
    )
    candidate_labels: str | Annotated[list[str], Field(min_length=1, fail_fast=True)] | None = Field(
        None, description="Labels to choose from, by a model with an entailment label; a list, or a text with commas"
    )
    hypothesis_template: str | None = Field(
        None,
        max_length=LONGEST_TEMPLATE,
        description="A sentence about the text, with `{}` once, where the label goes; by default `This example is {}.`",
    )
    multi_label: StrictBool | None = Field(None, description="Whether several of the candidate labels may be true")
    align_to_words: StrictBool | None = None
    doc_stride: StrictInt | None = Field(None, ge=0, le=100_000)
    handle_impossible_answer: StrictBool | None = None
    max_answer_len: StrictInt | None = Field(None, ge=1, le=4096)
    max_question_len: StrictInt | None = Field(None, ge=1)
    max_seq_len: StrictInt | None = Field(None, ge=8, le=100_000)
    padding: bool | str | None = None
    batch_size: StrictInt | None = Field(None, ge=1)


class Request(Strict):
    """One input or a list of them. `options` is sent by older clients and has no effect."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": "A warm, funny film.", "parameters": {"top_k": 2}},
                {
                    "inputs": {
                        "question": "What did the first lamp burn?",
                        "context": "The first lamp burned whale oil, but the keepers soon changed to paraffin.",
                    }
                },
            ]
        },
    )

    inputs: Inputs
    parameters: Parameters | None = None
    options: dict[str, Any] | None = None


_ONLY_TEI = ("truncate", "raw_scores", "truncation_direction")


def _speaker(given: object) -> str:
    """Whose client sends this to /: TEI's where only TEI knows a field, or its batches, and there are no parameters."""
    if not isinstance(given, dict) or "parameters" in given:
        return "Hugging Face"
    if "texts" in given and "inputs" not in given:
        return "TEI, ranking"
    inputs = given.get("inputs")
    batch = isinstance(inputs, list) and inputs and isinstance(inputs[0], list)
    return "TEI" if batch or any(name in given for name in _ONLY_TEI) else "Hugging Face"


_Spoken = Annotated[
    Annotated[Request, Tag("Hugging Face")]
    | Annotated[contested.PredictRequest, Tag("TEI")]
    | Annotated[contested.RerankRequest, Tag("TEI, ranking")],
    Discriminator(_speaker),
]


class Asked(RootModel[_Spoken]):
    """What / takes: Hugging Face's requests, and TEI's where a field that only TEI knows is there and no `parameters`.

    An answer has the shape that the sender expects, and so has an error.
    """

    @staticmethod
    def heard(given: object, request: HttpRequest) -> None:
        """What is wrong with a request of TEI's is told as TEI does."""
        if _speaker(given) != "Hugging Face":
            contested.speak(request)


class Label(BaseModel):
    """A label and its score."""

    label: str
    score: float


class Answer(BaseModel):
    """`start` and `end` are character offsets in the context as sent."""

    answer: str
    start: int
    end: int
    score: float


class HuggingFaceError(BaseModel):
    """Every error of this dialect."""

    error: str
