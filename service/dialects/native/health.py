"""/health for people and load balancers, / for clients that know no other path, /metrics for Prometheus."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from service.dialects.common import Require, registry_of
from service.dialects.native import schemas as native
from service.dialects.native.routes import ERRORS
from service.errors import Unauthorized, UnknownModel
from service.observe.instruments import Instruments
from service.settings import Settings

router = APIRouter(tags=["health"])
_USE = Require("use")
_OPENMETRICS = "application/openmetrics-text"


@router.get("/health", response_model=native.HealthBody, response_model_exclude_unset=True, responses=ERRORS)
async def health(request: Request) -> dict[str, object]:
    """200 once every model has made a forward pass, until draining begins. Where keys are set, `models` needs a key."""
    request.app.state.lifecycle.check()
    try:
        await _USE(request)
    except Unauthorized:
        return {"status": "ready"}
    models = [{"name": m.name, "version": m.version} for m in registry_of(request).models]
    return {"status": "ready", "models": models}


@router.get(
    "/", response_model=native.AliveBody, responses={307: {"description": "Redirects browsers to the page"}, **ERRORS}
)
async def root(request: Request) -> Response:
    """200 when ready, in the words that KServe's clients look for. A browser is redirected to the page at /ui."""
    settings: Settings = request.app.state.settings
    vary = {"Vary": "Accept"}
    if settings.ui and _asks_for_a_page(request.headers.get("accept", "")):
        return RedirectResponse("ui/", 307, vary)
    request.app.state.lifecycle.check()
    return JSONResponse({"status": "alive"}, headers=vary)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, _OPENMETRICS: {}}}, **ERRORS},
)
async def metrics(request: Request) -> Response:
    """All metrics, in Prometheus's text format or as OpenMetrics."""
    settings: Settings = request.app.state.settings
    if not settings.metrics:
        raise UnknownModel("metrics are switched off")
    if settings.metrics_key:
        await _USE(request)
    instruments: Instruments = request.app.state.instruments
    vary = {"Vary": "Accept"}
    if _asks_for_openmetrics(request.headers.get("accept", "")):
        text, kind = await instruments.openmetrics_scrapes.next(), f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"
    else:
        text, kind = await instruments.scrapes.next(), "text/plain; version=0.0.4; charset=utf-8"
    return Response(text, 200, vary, kind)


def _asks_for_a_page(accept: str) -> bool:
    """Whether HTML is the first that is named, as browsers name it."""
    return accept.partition(",")[0].partition(";")[0].strip().lower() == "text/html"


def _asks_for_openmetrics(accept: str) -> bool:
    """Whether it is named, and plain text is not named as better."""
    wanted = {_OPENMETRICS: 0.0, "text/plain": 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind in wanted:
            wanted[kind] = max(wanted[kind], _quality(parameters))
    return 0 < wanted[_OPENMETRICS] >= wanted["text/plain"]


def _quality(parameters: Sequence[str]) -> float:
    """From 0 to 1, as far as it is a number; 1 where none is given."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                found = float(value)
            except ValueError:
                return 0.0
            return min(max(found, 0.0), 1.0) if math.isfinite(found) else 0.0
    return 1.0
