"""/health: ready, and with what."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.engine import Engine
from service.schemas import native

router = APIRouter(tags=["health"])


@router.get("/health", response_model=native.HealthBody)
async def health(request: Request) -> dict[str, object]:
    """200 once every model has made a forward pass."""
    engine: Engine = request.app.state.engine
    models = [
        {
            "name": m.manifest.name,
            "version": m.version,
            "task": m.manifest.task,
            "weights_kept": round(m.manifest.weights["kept"] / m.manifest.weights["dense"], 4),
        }
        for m in engine.models
    ]
    return {"status": "ready", "models": models}
