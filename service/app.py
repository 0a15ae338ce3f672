"""The application factory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from pgb_core.artifact import open_artifact
from service.engine import Engine, Model
from service.routes import errors, health, native
from service.routes.limits import Arrival
from service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """An application that opens its artifacts when it starts and drains them when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models = [Model(open_artifact(path), settings) for path in settings.artifacts]
        for model in models:
            model.warm_up()
        app.state.engine = Engine(models, settings)
        try:
            yield
        finally:
            await app.state.engine.close()

    app = FastAPI(
        title="pgb-serve",
        summary="Classification and extractive question answering, with the latency of every request",
        lifespan=lifespan,
    )
    app.add_middleware(Arrival, max_bytes=settings.max_body_bytes)
    errors.install(app)
    app.include_router(health.router)
    app.include_router(native.router)
    return app
