"""Schemas of the Open Inference Protocol v2: the JSON of requests and answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

Count = Annotated[int, Field(ge=0, le=1 << 31, strict=True)]
LONGEST_ID = 1024  # characters, which the answer repeats


def _none_without(given: Any) -> Any:
    """Accept null for missing parameters, and for a parameter that is not set: clients write it."""
    if given is None:
        return {}
    return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


Parameters = Annotated[dict[str, Any], BeforeValidator(_none_without, dict[str, Any] | None)]


class RequestInput(BaseModel):
    """One tensor. Its values are under `data`, or they are `binary_data_size` bytes after the JSON header."""

    name: str
    shape: Annotated[list[Count], Field(fail_fast=True)]
    datatype: str
    data: list[Any] | None = None
    parameters: Parameters = {}


class RequestOutput(BaseModel):
    """One requested output tensor; parameters `binary_data`, and `classification` for the k best labels."""

    name: str
    parameters: Parameters = {}


class InferRequest(BaseModel):
    """The JSON header of an inference request."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["A warm, funny film."]}]}
            ]
        },
    )

    id: Annotated[str, Field(max_length=LONGEST_ID)] | None = None
    parameters: Parameters = {}
    inputs: Annotated[list[RequestInput], Field(fail_fast=True)]
    outputs: Annotated[list[RequestOutput], Field(fail_fast=True)] | None = None


class IndexRequest(BaseModel):
    """Which versions the repository index shows: all, or those that are ready."""

    ready: StrictBool | None = None


class LoadRequest(BaseModel):
    """Parameters for loading a model. There are none, because a model is loaded as its folder has it."""

    model_config = ConfigDict(extra="forbid")  # a version that is passed over would be another one

    parameters: Parameters = {}


class UnloadRequest(BaseModel):
    """Parameters for unloading a model. `unload_dependents` is accepted; no model depends on another."""

    model_config = ConfigDict(extra="forbid")

    parameters: Parameters = {}


class ResponseOutput(BaseModel):
    """One tensor of an answer."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferResponse(BaseModel):
    """The JSON header of an answer; its binary tensors follow in order."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


class V2Error(BaseModel):
    """Every error of this dialect."""

    error: str
