"""Routes of the dialect of text-embeddings-inference: /predict, /rerank, /info, /ping."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.dialects import contested
from service.dialects.common import USE, documented, registry_of
from service.dialects.information import Info, information
from service.dialects.strict import StrictRoute
from service.dialects.tei import schemas as tei

router = APIRouter(tags=["text-embeddings-inference"], route_class=StrictRoute)
ERRORS = documented(tei.TeiError, 415, 422, 424)


@router.post(
    "/predict",
    response_model=list[contested.Prediction] | list[list[contested.Prediction]],
    responses=ERRORS,
    dependencies=USE,
)
async def predict(asked: contested.PredictRequest, request: Request) -> JSONResponse:
    """Label a text, a pair or a batch. One input gives a flat list, a batch a list of lists."""
    return await contested.predicted(asked, request)


@router.post("/rerank", response_model=list[contested.Rank], responses=ERRORS, dependencies=USE)
async def rerank(asked: contested.RerankRequest, request: Request) -> JSONResponse:
    """Rank texts by a query, with the first model of one label; the highest score comes first."""
    return await contested.ranked(asked, request)


@router.get("/info", response_model=Info, response_model_exclude_unset=True, responses=ERRORS, dependencies=USE)
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
