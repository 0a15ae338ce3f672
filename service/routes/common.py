"""What every dialect needs of a request. Coroutines, though none waits: FastAPI gives a plain function a thread."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic_core import from_json

from service.engine import Engine
from service.keys import Keys
from service.metrics import Call
from service.registry import Registry
from service.schemas.native import ErrorBody


async def call_of(request: Request) -> Call:
    """The account of this request."""
    return cast(Call, request.state.call)


async def engine_of(request: Request) -> Engine:
    """The application's engine."""
    return cast(Engine, request.app.state.engine)


async def registry_of(request: Request) -> Registry:
    """The application's models."""
    return cast(Engine, request.app.state.engine).registry


def require(scope: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets a request through only with a key of that scope, where keys are set."""

    async def check(request: Request) -> None:
        keys: Keys = request.app.state.keys
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        bearer = secret.strip() if kind.lower() == "bearer" else None
        owner = keys.check(bearer or request.headers.get("x-api-key"), scope)
        request.state.call.owner = owner

    return check


class StrictRequest(Request):
    """JSON is UTF-8, without NaN or infinity, without halves of surrogate pairs, at most 200 levels deep."""

    async def json(self) -> Any:
        """Raises JSONDecodeError, which repeats nothing."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError:
            raise json.JSONDecodeError("", "", 0) from None


class StrictRoute(APIRoute):
    """A route that reads its body as `StrictRequest` does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


TheCall = Annotated[Call, Depends(call_of)]
TheEngine = Annotated[Engine, Depends(engine_of)]
TheRegistry = Annotated[Registry, Depends(registry_of)]
# What the OpenAPI document says of keys; `require` reads them itself.
_SCHEMES = [
    Security(HTTPBearer(auto_error=False, description="A key, where keys are set")),
    Security(APIKeyHeader(name="x-api-key", auto_error=False, description="The same")),
]
USE = [Depends(require("use")), *_SCHEMES]
ADMIN = [Depends(require("admin")), *_SCHEMES]
ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504)
}


def timed(body: object, call: Call) -> JSONResponse:
    """An answer with its stage timings in the Server-Timing header."""
    return JSONResponse(body, headers={"Server-Timing": call.timings().header()})
