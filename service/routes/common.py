"""What every dialect needs of a request.

Plain functions of the request, and one dependency for keys: FastAPI resolves dependencies anew for every
request, and each one costs as much as parsing the body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic_core import from_json

from service.engine import Engine
from service.keys import Keys
from service.metrics import Call
from service.registry import Registry
from service.schemas.native import ErrorBody


def call_of(request: Request) -> Call:
    """The account of this request."""
    return cast(Call, request.state.call)


def engine_of(request: Request) -> Engine:
    """The application's engine."""
    return cast(Engine, request.app.state.engine)


def registry_of(request: Request) -> Registry:
    """The application's models."""
    return engine_of(request).registry


class Require(HTTPBearer):
    """A dependency that lets a request through only with a key of a scope, where keys are set."""

    def __init__(self, scope: str) -> None:
        super().__init__(scheme_name="key", description="A key, where keys are set; or in the header x-api-key")
        self._scope = scope

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        """Raises Unauthorized or Forbidden."""
        keys: Keys = request.app.state.keys
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        bearer = secret.strip() if kind.lower() == "bearer" else None
        call_of(request).owner = keys.check(bearer or request.headers.get("x-api-key"), self._scope)


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


USE = [Depends(Require("use"))]
ADMIN = [Depends(Require("admin"))]
ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504)
}


def timed(body: object, call: Call) -> JSONResponse:
    """An answer with its stage timings in the Server-Timing header."""
    return JSONResponse(body, headers={"Server-Timing": call.timings().header()})
