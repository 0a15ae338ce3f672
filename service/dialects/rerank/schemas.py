"""Schemas of the rerank dialect: what Cohere's clients, and clients that follow them, send and read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from service.dialects.strict import Strict


class Document(BaseModel):
    """A document with its text. Other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    text: str


class RerankDocumentsRequest(Strict):
    """A query, and documents to rank by it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "What did the first lamp burn?",
                    "documents": ["The first lamp burned whale oil.", "It never ends."],
                    "top_n": 1,
                }
            ]
        },
    )

    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | Document], Field(min_length=1, fail_fast=True)]
    model: str | None = Field(None, description="By default the first classification model of one label")
    top_n: StrictInt | None = Field(None, ge=1, description="By default all documents")
    return_documents: StrictBool | None = Field(None, description="Repeat each document beside its score")
    rank_fields: Annotated[list[Literal["text"]], Field(max_length=1)] | None = Field(
        None, description="Accepted, but only the text of a document is ranked"
    )
    max_tokens_per_doc: StrictInt | None = Field(
        None, ge=8, description="Tokens to which query and document together are cut, if the model takes more"
    )
    max_chunks_per_doc: StrictInt | None = Field(
        None, ge=1, description="No effect: a document is never split into parts"
    )
    priority: StrictInt | None = Field(None, description="Has no effect: all clients get fair turns")


class Result(BaseModel):
    """The position of a document in the request, and its score. `document` is present if it was asked for."""

    index: int
    relevance_score: float
    document: Document | None = None


class ApiVersion(BaseModel):
    """The version of the API, from the path of the request."""

    version: str


class Meta(BaseModel):
    """Further data that Cohere's clients read."""

    api_version: ApiVersion


class Usage(BaseModel):
    """Tokens that the model read."""

    total_tokens: int


class RerankResponse(BaseModel):
    """Documents, highest score first. `id` is the id of the request."""

    id: str
    model: str
    results: list[Result]
    usage: Usage
    meta: Meta


class RerankError(BaseModel):
    """Every error of this dialect."""

    message: str
