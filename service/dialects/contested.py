"""Bodies and answers of text-embeddings-inference, at its own paths and at /, which it shares with Hugging Face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tokens import Text
from service.dialects.base import Dialect
from service.dialects.common import call_of, engine_of, timed
from service.engine import Target
from service.errors import EmptyInput
from service.observe.metrics import Call

TEI = "tei"  # the name of the dialect
Item = Annotated[list[str], Field(min_length=1, max_length=2, fail_fast=True)]
Direction = Annotated[
    Literal["left", "right", "Left", "Right"] | None,
    Field(description="the side on which a text is cut; by default the side that the model was trained with"),
]


class Cut(BaseModel):
    """Fields about long texts that both kinds of request have. Unknown fields are ignored, as TEI does."""

    model_config = ConfigDict(extra="ignore")

    truncate: StrictBool | None = Field(None, description="cut a text that is too long (the default), or refuse it")
    truncation_direction: Direction = None
    raw_scores: StrictBool = Field(False, description="give logits as scores")

    def labelling(self, activation: str | None = None) -> Labelling:
        """The options of the engine. activation: what turns logits into scores; by default the model's own."""
        side = self.truncation_direction
        truncate = True if self.truncate is None else self.truncate
        return Labelling("none" if self.raw_scores else activation, None, truncate, side.lower() if side else None)


class PredictRequest(Cut):
    """`"a"` is one text, `["a", "b"]` one PAIR, `[["a"], ["a", "b"]]` a batch of a text and a pair."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": "A warm, funny film."},
                {"inputs": [["A warm, funny film."], ["It never ends."]], "raw_scores": True},
            ]
        },
    )

    inputs: str | Item | Annotated[list[Item], Field(fail_fast=True)]


class RerankRequest(Cut):
    """A query, and texts to rank by it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "What did the first lamp burn?",
                    "texts": ["The first lamp burned whale oil.", "It never ends."],
                    "return_text": True,
                }
            ]
        },
    )

    query: str
    texts: Annotated[list[str], Field(fail_fast=True)]
    return_text: StrictBool = Field(False, description="repeat each text beside its score")


class Prediction(BaseModel):
    """A label and its score."""

    score: float
    label: str


class Rank(BaseModel):
    """The position of a text in the request, and its score. `text` is present if it was asked for."""

    index: int
    score: float
    text: str | None = None


async def predicted(asked: PredictRequest, request: Request) -> JSONResponse:
    """One input gives a flat list, a batch a list of lists."""
    call, given = call_of(request), asked.inputs
    batch = isinstance(given, list) and all(isinstance(item, list) for item in given)
    inputs = [_text(item) for item in given] if batch else [_text(given)]
    if not all(any(item) for item in inputs):  # a text, or one of a pair
        raise EmptyInput("inputs cannot be empty")
    rows = await engine_of(request).classify(call, Target(), inputs, asked.labelling())
    results = [[{"score": s.score, "label": s.label} for s in row] for row in rows]
    return _headed(results if batch else results[0], call)


async def ranked(asked: RerankRequest, request: Request) -> JSONResponse:
    """Every text with its score, the highest first. The score is a sigmoid of the logit, as in TEI."""
    call = call_of(request)
    if not asked.texts or not (asked.query or all(asked.texts)):
        raise EmptyInput("query and texts cannot be empty")
    ranks = await engine_of(request).rank(call, Target(), asked.query, asked.texts, asked.labelling("sigmoid"))
    found = [{"index": n, "score": score, **_shown(asked, n)} for n, score in ranks]
    return _headed(found, call)


def _shown(asked: RerankRequest, index: int) -> dict[str, str]:
    return {"text": asked.texts[index]} if asked.return_text else {}


def speak(request: Request) -> None:
    """From here on the request is counted as TEI's and its errors have TEI's shape, whatever its path."""
    dialects: Sequence[Dialect] = request.app.state.dialects
    meant = [dialect for dialect in dialects if dialect.name == TEI]
    if meant:
        call_of(request).dialect = TEI
        request.scope["state"]["dialect"] = meant[0]


def _text(item: str | list[str] | list[list[str]]) -> Text:
    if isinstance(item, str):
        return item
    parts = [part for part in item if isinstance(part, str)]
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _headed(body: object, call: Call) -> JSONResponse:
    """The answer with TEI's headers in addition to the service's own."""
    response = timed(body, call)
    whole = {name: str(math.floor(value)) for name, value in vars(call.timings()).items()}
    headers = {
        "x-compute-type": "gpu" if call.device == "cuda" else "cpu",
        "x-compute-time": whole["total"],
        "x-compute-characters": str(call.characters),
        "x-compute-tokens": str(call.tokens),
        "x-total-time": whole["total"],
        "x-tokenization-time": whole["tokenize"],
        "x-queue-time": whole["queue"],
        "x-inference-time": whole["infer"],
    }
    for name, value in headers.items():
        response.headers[name] = value
    return response
