"""Creates the application. There are no globals: everything is on the application's state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from functools import lru_cache
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from service import __version__
from service.dialects import DIALECTS
from service.dialects.base import Dialect
from service.dialects.native import health
from service.engine import Engine
from service.http import failures
from service.http.arrival import Arrival, Parts
from service.http.compress import Compress
from service.http.head import Head
from service.http.origins import Origins, Preflights, allowed
from service.http.shortcut import Shortcut
from service.keys import Keys
from service.models.lifecycle import Lifecycle
from service.models.loader import Loader
from service.models.registry import Registry
from service.models.repository import Repository
from service.observe.instruments import Instruments
from service.observe.tracing import Tracer
from service.settings import Settings, SettingsError
from service.ui import pages as ui

_PREFIXES = 4  # of one application; a server has one


def create_app(settings: Settings, background: bool = False, dialects: Sequence[Dialect] = DIALECTS) -> FastAPI:
    """An application that loads its models when it starts and drains them when it stops.

    background: answer probes while the models load; otherwise starting ends when they are loaded, and
    fails with LoadFailed if one cannot be.
    """
    instruments = Instruments()
    tracer = _tracer(settings.otlp_endpoint) if settings.otlp_endpoint else None
    registry = Registry()
    instruments.watch(registry.figures)
    repository = Repository(registry, Loader(settings, instruments, tracer), settings, instruments)
    lifecycle = Lifecycle(registry, repository, instruments, settings.max_request_seconds)
    engine = Engine(registry, settings, instruments)
    keys = Keys(settings.keys_file)
    parts = Parts(settings, dialects, instruments, tracer, lifecycle, repository, keys, engine)
    app = _application(parts, background)
    for name, part in vars(parts).items():
        setattr(app.state, name, part)
    _wrap(app, parts)
    failures.install(app)
    document = _documented(app.openapi())
    app.openapi = lambda: document  # type: ignore[method-assign]
    app.state.field_names = failures.field_names(document)
    app.add_route("/openapi.json", _described(document), include_in_schema=False)
    return app


def _application(parts: Parts, background: bool) -> FastAPI:
    """The routes, without what stands around them."""
    routes = [route for dialect in parts.dialects for route in dialect.routes] + health.router.routes
    if parts.settings.ui:
        routes += ui.router.routes
    return FastAPI(
        routes=routes,  # by include_router they would be matched twice at every request
        title="pgb-serve",
        summary="Classification and extractive question answering, with the latency of every request",
        version=__version__,
        lifespan=_lifespan(parts, background),
        openapi_url=None,  # its own route would render the document at every request
        docs_url=None,  # FastAPI's own pages fetch their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect repeats the Host that was sent
        # FastAPI's own would record what clients sent when it does not fit, and looks for a provider at every request.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )


def _wrap(app: FastAPI, parts: Parts) -> None:
    """Put around the routes what every request passes; what is added last comes first."""
    origins = parts.settings.cors_origins
    if origins:
        app.add_middleware(Preflights, **allowed(origins))
    app.add_middleware(Compress)
    app.add_middleware(Head)
    app.add_middleware(Shortcut, dialects=parts.dialects)
    app.add_middleware(Arrival, parts=parts)
    if origins:
        app.add_middleware(Origins, **allowed(origins))


def _lifespan(parts: Parts, background: bool) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Loads the models at the start, and drains them at the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = parts.lifecycle.load()
        if not background:
            await loading
            if parts.lifecycle.failure is not None:
                raise parts.lifecycle.failure
        try:
            yield
        finally:
            await parts.lifecycle.close()
            parts.engine.close()
            if parts.tracer is not None:
                await parts.tracer.close()

    return lifespan


def _tracer(endpoint: str) -> Tracer:
    """Raises SettingsError where OpenTelemetry is not installed, or its own variables are wrong."""
    try:
        return Tracer(endpoint)
    except ImportError as error:
        raise SettingsError(
            "otlp_endpoint: OpenTelemetry is not installed; pip install '.[otel]' in a clone of pgb-serve, or leave "
            "otlp_endpoint out"
        ) from error
    except ValueError as error:
        raise SettingsError(f"environment: OpenTelemetry refuses one of its variables, OTEL_...: {error}") from error


def _documented(openapi: dict[str, Any]) -> dict[str, Any]:
    """The document without the 422 that FastAPI adds to routes whose dialect answers with another status."""
    openapi = deepcopy(openapi)
    for methods in openapi["paths"].values():
        for operation in methods.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        openapi["components"]["schemas"].pop(name, None)
    return openapi


def _described(openapi: Mapping[str, object]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """A route for the OpenAPI document. It is rendered once for each prefix that a server in front of it has added."""

    @lru_cache(_PREFIXES)
    def rendered(prefix: str) -> bytes:
        servers = {"servers": [{"url": prefix}]} if prefix else {}
        return bytes(JSONResponse({**openapi, **servers}).body)

    async def document(request: Request) -> Response:
        content = rendered(request.scope.get("root_path", "").rstrip("/"))
        return Response(content, media_type="application/json")

    rendered("")
    return document
