"""/health for people and load balancers, /metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.dialects.common import Require, registry_of
from service.dialects.native import schemas as native
from service.dialects.native.routes import ERRORS
from service.errors import UnknownModel
from service.observe.instruments import Instruments
from service.settings import Settings

router = APIRouter(tags=["health"])
_USE = Require("use")


@router.get("/health", response_model=native.HealthBody, responses=ERRORS)
async def health(request: Request) -> dict[str, object]:
    """200 once every model has made a forward pass, until draining begins."""
    request.app.state.lifecycle.check()
    models = [{"name": m.name, "version": m.version} for m in registry_of(request).models]
    return {"status": "ready", "models": models}


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **ERRORS})
async def metrics(request: Request) -> Response:
    """Every figure that the service keeps of itself, as Prometheus reads it."""
    settings: Settings = request.app.state.settings
    if not settings.metrics:
        raise UnknownModel("metrics are switched off")
    if settings.metrics_key:
        await _USE(request)
    instruments: Instruments = request.app.state.instruments
    return Response(instruments.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
