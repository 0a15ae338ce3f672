"""Schemas of the KServe v1 dialect: instances in, predictions out."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from service.dialects.strict import Strict

_WAYS = ({"text"}, {"text", "text_pair"}, {"question", "context"})


class Instance(Strict):
    """A text, two texts that are judged together, or a question about a context."""

    text: str | None = None
    text_pair: str | None = None
    question: str | None = None
    context: str | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = {name for name, value in self if value is not None}
        if given not in _WAYS:
            raise PydanticCustomError("instance", "give text, or text and text_pair, or question and context")
        return self


def _written(value: Any) -> str:
    return "object" if isinstance(value, dict) else "text"


Given = Annotated[Annotated[str, Tag("text")] | Annotated[Instance, Tag("object")], Discriminator(_written)]


class InstancesRequest(BaseModel):
    """Texts and pairs for classification, questions for question answering. `inputs` may stand for `instances`."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {"instances": ["A warm, funny film.", {"text": "It drags.", "text_pair": "It never drags."}]},
                {
                    "instances": [
                        {
                            "question": "What did the first lamp burn?",
                            "context": "The first lamp burned whale oil, but the keepers soon changed to paraffin.",
                        }
                    ]
                },
            ]
        },
    )

    instances: Annotated[list[Given], Field(min_length=1, fail_fast=True)] = Field(
        validation_alias=AliasChoices("instances", "inputs")
    )

    @model_validator(mode="before")
    @classmethod
    def _under_one_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "instances" in data and "inputs" in data:
            raise PydanticCustomError("instances", "give instances or inputs, which mean the same, and not both")
        return data


class LabelOfInstance(BaseModel):
    """A label and its score."""

    label: str
    score: float


class AnswerOfInstance(BaseModel):
    """`start` and `end` are character offsets in the context as sent; the answer is empty when there is none."""

    answer: str
    start: int
    end: int
    score: float


class PredictionsResponse(BaseModel):
    """One prediction for each instance, in order: all labels, highest score first, or the best answer."""

    predictions: list[list[LabelOfInstance]] | list[AnswerOfInstance]


class ModelReady(BaseModel):
    """Whether a model answers."""

    name: str
    ready: bool


class KServeError(BaseModel):
    """Every error of this dialect."""

    error: str
