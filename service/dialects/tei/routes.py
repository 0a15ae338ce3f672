"""/predict, /info, /ping: the dialect of text-embeddings-inference."""

from __future__ import annotations

import math

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tokens import Text
from service.dialects.common import USE, call_of, documented, engine_of, registry_of, timed
from service.dialects.information import Info, information
from service.dialects.strict import StrictRoute
from service.dialects.tei import schemas as tei
from service.engine import Target
from service.observe.metrics import Call

router = APIRouter(tags=["text-embeddings-inference"], route_class=StrictRoute)
ERRORS = documented(tei.TeiError, 415, 422, 424)


@router.post(
    "/predict",
    response_model=list[tei.Prediction] | list[list[tei.Prediction]],
    responses=ERRORS,
    dependencies=USE,
)
async def predict(asked: tei.PredictRequest, request: Request) -> JSONResponse:
    """Label a text, a pair or a batch. One input gives a flat list, a batch a list of lists."""
    given = asked.inputs
    batch = isinstance(given, list) and all(isinstance(item, list) for item in given)
    inputs = [_text(item) for item in given] if batch else [_text(given)]
    truncate = True if asked.truncate is None else asked.truncate
    activation = "none" if asked.raw_scores else None
    side = asked.truncation_direction
    options = Labelling(activation, None, truncate, side.lower() if side else None)
    call = call_of(request)
    rows = await engine_of(request).classify(call, Target(), inputs, options)
    results = [[{"score": s.score, "label": s.label} for s in row] for row in rows]
    response = timed(results if batch else results[0], call)
    for name, value in _headers(call).items():
        response.headers[name] = value
    return response


@router.get("/info", response_model=Info, responses=ERRORS, dependencies=USE)
async def info(request: Request) -> dict[str, object]:
    """What is served, with the density, accuracy and speed measured when each model was made."""
    registry = registry_of(request)
    name = registry.default("classification") or registry.default("qa")
    return information(request.app.state.settings, registry, registry.peek(name) if name else None)


@router.get("/ping", response_class=Response, responses=ERRORS)
async def ping(request: Request) -> Response:
    """200 with an empty body when ready, 503 when not."""
    request.app.state.lifecycle.check()
    return Response()


def _text(item: str | list[str] | list[list[str]]) -> Text:
    if isinstance(item, str):
        return item
    parts = [part for part in item if isinstance(part, str)]
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _headers(call: Call) -> dict[str, str]:
    timings = call.timings()
    whole = {name: str(math.floor(value)) for name, value in vars(timings).items()}
    return {
        "x-compute-type": "gpu" if call.device == "cuda" else "cpu",
        "x-compute-time": whole["total"],
        "x-compute-characters": str(call.characters),
        "x-compute-tokens": str(call.tokens),
        "x-total-time": whole["total"],
        "x-tokenization-time": whole["tokenize"],
        "x-queue-time": whole["queue"],
        "x-inference-time": whole["infer"],
    }
