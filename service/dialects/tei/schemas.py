"""The dialect of text-embeddings-inference, for sequence classification."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Item = Annotated[list[str], Field(min_length=1, max_length=2, fail_fast=True)]


class PredictRequest(BaseModel):
    """`"a"` is one text, `["a", "b"]` one PAIR, `[["a"], ["a", "b"]]` a batch of a text and a pair."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {"inputs": "A warm, funny film."},
                {"inputs": [["A warm, funny film."], ["It never ends."]], "raw_scores": True},
            ]
        },
    )

    inputs: str | Item | Annotated[list[Item], Field(fail_fast=True)]
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = Field(
        None, description="the end of a text that is cut; by default the one that the model was trained with"
    )
    raw_scores: bool = False


class Prediction(BaseModel):
    """A label and its score."""

    score: float
    label: str


class Error(BaseModel):
    """Every error of this dialect."""

    error: str
    error_type: str


class Classifier(BaseModel):
    """The labels of the default classification model."""

    id2label: dict[str, str]
    label2id: dict[str, int]


class ModelType(BaseModel):
    """What kind of model answers /predict."""

    classifier: Classifier | None = None


class Info(BaseModel):
    """What the service is, for TEI and Hugging Face clients; `models` has every model with what was measured."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    models: list[dict[str, object]]
