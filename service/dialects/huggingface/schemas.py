"""The Hugging Face dialect: what `InferenceClient` and `@huggingface/inference` send."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.dialects.strict import Strict


class TextPair(Strict):
    """Two texts that are judged together."""

    text: str
    text_pair: str | None = None


class Question(Strict):
    """A question about a context."""

    question: str
    context: str


TextInput = str | TextPair
Inputs = (
    Question
    | TextInput
    | Annotated[list[Question], Field(min_length=1, fail_fast=True)]
    | Annotated[list[TextInput], Field(min_length=1, fail_fast=True)]
)


class Parameters(Strict):
    """Of either task; those of the other one are passed over, as the pipelines do.

    `truncation` and `padding` are accepted and change nothing: texts are cut to the model's length.
    `max_question_len` has no effect in the pipeline either.
    """

    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    return_all_scores: bool | None = None
    top_k: int | None = Field(None, ge=1, le=10_000)
    align_to_words: bool | None = None
    doc_stride: int | None = Field(None, ge=0, le=100_000)
    handle_impossible_answer: bool | None = None
    max_answer_len: int | None = Field(None, ge=1, le=4096)
    max_question_len: int | None = Field(None, ge=1)
    max_seq_len: int | None = Field(None, ge=8, le=100_000)
    truncation: bool | str | None = None
    padding: bool | str | None = None


class Request(Strict):
    """One input or a list of them. `options` is what older clients add; nothing in it applies here."""

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
