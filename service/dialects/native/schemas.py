"""Schemas of the native dialect: bodies and answers of /v1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from service.dialects.strict import Strict

Text = Annotated[str, Field(min_length=1)]


class Pair(Strict):
    """Two texts that are judged together."""

    text: Text
    pair: Text


Input = Text | Pair


class ClassifyRequest(Strict):
    """One text or pair, or a list of them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": ["A warm, funny film.", "It never ends."], "top_k": 1}]},
    )

    inputs: Input | Annotated[list[Input], Field(min_length=1, fail_fast=True)]
    model: str | None = Field(None, description="By default the first classification model")
    version: str | None = Field(None, description="Version of the named model; by default the traffic split chooses")
    activation: Literal["softmax", "sigmoid", "none"] | None = Field(None, description="By default the model's own")
    top_k: StrictInt | None = Field(None, ge=1, description="By default all labels")
    truncate: StrictBool = Field(
        True, description="True cuts a text that is longer than the model takes; false refuses it"
    )
    long: Literal["mean", "max"] | None = Field(
        None,
        description="Read a text that is longer than the model takes in windows, and label it by the mean or the "
        "largest of their logits",
    )
    stride: StrictInt | None = Field(
        None,
        ge=0,
        description="Tokens that neighbouring windows of `long` share; by default half of a window, at most 128",
    )
    timeout_ms: StrictFloat | None = Field(None, gt=0, le=3_600_000, description="Give up this long after arrival")


class QuestionInput(Strict):
    """A question about a context."""

    question: Text
    context: Text


class AnswerRequest(Strict):
    """One question and context, or a list under `inputs`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "question": "What did the first lamp burn?",
                    "context": "The first lamp burned whale oil, but the keepers soon changed to paraffin.",
                }
            ]
        },
    )

    question: Text | None = None
    context: Text | None = None
    inputs: Annotated[list[QuestionInput], Field(min_length=1, fail_fast=True)] | None = None
    model: str | None = Field(None, description="By default the first QA model")
    version: str | None = Field(None, description="Version of the named model; by default the traffic split chooses")
    top_k: StrictInt = Field(1, ge=1, le=100)
    max_answer_length: StrictInt = Field(15, ge=1, le=4096, description="Largest number of tokens in an answer")
    max_length: StrictInt | None = Field(
        None, ge=8, description="Tokens of a window; by default 384, at most the model's"
    )
    stride: StrictInt | None = Field(
        None, ge=0, description="Tokens that neighbouring windows share; by default half of a window, at most 128"
    )
    handle_impossible: StrictBool = Field(False, description="Allow an empty answer for a context that has none")
    align_to_words: StrictBool = Field(True, description="Widen answers to whole words")
    timeout_ms: StrictFloat | None = Field(None, gt=0, le=3_600_000, description="Give up this long after arrival")


class TimingsBody(BaseModel):
    """Milliseconds by stage; the header Server-Timing has the same figures."""

    tokenize: float
    queue: float
    infer: float
    postprocess: float
    total: float


class ModelBody(BaseModel):
    """Which model answered."""

    name: str
    version: str


class LabelScore(BaseModel):
    """A label and its score."""

    label: str
    score: float


class AnswerBody(BaseModel):
    """`context[start:end]` is the text; empty when the context holds no answer."""

    answer: str
    start: int
    end: int
    score: float


class ReplyBody(BaseModel):
    """Fields of every answer."""

    model: ModelBody
    timings: TimingsBody
    batch_size: int
    batch_tokens: int


class ClassifyResponse(ReplyBody):
    """Labels of each input, highest score first; inputs in the order of the request."""

    results: list[list[LabelScore]]
    truncated: int = Field(description="How many inputs were cut to the model's length")


class AnswerResponse(ReplyBody):
    """Answers to each question, best first; questions in the order of the request."""

    results: list[list[AnswerBody]]


class ErrorDetail(BaseModel):
    """`code` is stable; `message` is for people. Nothing that was sent is repeated."""

    code: str
    message: str


class ErrorBody(BaseModel):
    """Every error of this dialect."""

    error: ErrorDetail


class ServedModel(BaseModel):
    """One version that answers."""

    name: str
    version: str
    task: str
    labels: list[str]
    activation: str = Field(description="What turns a classifier's logits into scores: softmax, sigmoid or none")
    max_length: int
    share: float = Field(description="Share of the traffic that names no version")
    weights_kept: float
    default: bool = Field(description="Whether this model answers requests for its task that name no model")
    runtime: str
    device: str = Field(description="Device on which the model runs: cpu or cuda")
    form: str = Field(description="Form of the artifact that is served")
    numbers: str = Field(description="Number format in which products are computed")
    why_form: str = Field(description="Reason why this form is served")
    form_milliseconds: dict[str, list[float]] = Field(
        description="Times of the forms that were timed at load, for one short input and one long one"
    )
    forms: dict[str, dict[str, Any]] = Field(description="Every form that the artifact carries, with its loss")
    threads: int = Field(description="Threads of the runtime on the CPU")
    manifest_sha256: str = Field(description="SHA-256 of manifest.json, which has the hash of every other file")
    measured: dict[str, Any] = Field(description="Accuracy, parity and speed, measured when the artifact was made")


class VersionState(BaseModel):
    """One version, whether it answers or not."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
    reason: str


class ModelsBody(BaseModel):
    """Versions that are served, loading, unloading or failed."""

    models: list[ServedModel]
    states: list[VersionState]


class LoadRequest(Strict):
    """Which version to load from the folder of models; by default the latest."""

    version: str | None = None
    share: StrictFloat = Field(
        1.0, gt=0, le=1, description="Share of the traffic; with 1 the other versions are unloaded"
    )


class UnloadRequest(Strict):
    """Which version to unload; by default all."""

    version: str | None = None


class SplitRequest(Strict):
    """Share of the traffic by version. The values are scaled so that they sum to 1."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"weights": {"1": 0.9, "2": 0.1}}]})

    weights: Annotated[dict[str, Annotated[StrictFloat, Field(ge=0, le=1e6)]], Field(min_length=1)]


class AliveBody(BaseModel):
    """Ready, in short."""

    status: Literal["alive"]


class HealthBody(BaseModel):
    """Ready, and with what."""

    status: Literal["ready"]
    models: list[ModelBody] | None = Field(None, description="Left out where keys are set and none was sent")
