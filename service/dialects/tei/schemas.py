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


class TeiError(BaseModel):
    """Every error of this dialect."""

    error: str
    error_type: str
