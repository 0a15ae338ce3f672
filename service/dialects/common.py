"""What every dialect needs of a request.

Plain functions of the request, and one dependency for keys: FastAPI resolves dependencies anew for every
request, and each one costs as much as parsing the body.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic_core import from_json

from service.dialects.native.schemas import ErrorBody
from service.dialects.strict import check_values
from service.engine import Engine
from service.errors import Malformed
from service.keys import Keys, secret_of
from service.models.registry import Registry
from service.observe.metrics import Call


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
        call_of(request).owner = keys.check(secret_of(request.headers), self._scope)


class StrictRoute(APIRoute):
    """A route that checks the key, then reads a body that is strict JSON, by the field that FastAPI documents.

    FastAPI by itself looks up at every request what the route takes, which costs as much as tokenising four texts,
    and reads the body before it asks for the key. A function that takes a body returns a response.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        needs, body = self.dependant, self.body_field
        if body is None:
            return super().get_route_handler()
        checks = [dependency.call for dependency in needs.dependencies if isinstance(dependency.call, Require)]
        whole = all(field.field_info.annotation is str for field in needs.path_params)
        others = needs.query_params or needs.header_params or needs.cookie_params
        if not whole or others or len(checks) < len(needs.dependencies):
            raise TypeError(f"{self.path}: takes more than words of its path, a body and the request")
        answer = cast(Callable[..., Coroutine[Any, Any, Response]], self.endpoint)
        asked, asking = body.name, str(needs.request_param_name)

        async def directly(request: Request) -> Response:
            for check in checks:
                await check(request)
            found, errors = body.validate(await _sent(request), {}, loc=("body",))
            if errors:
                raise RequestValidationError(errors)
            return await answer(**request.path_params, **{asked: found, asking: request})

        return directly


async def _sent(request: Request) -> object:
    """What the body holds: JSON in UTF-8, without NaN or infinity, without halves of surrogate pairs, at most 200
    levels deep. None when it is empty; its bytes when it is not called JSON, which no schema takes.

    Raises Malformed.
    """
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body or not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        return body or None
    check_values(body, request.app.state.settings.max_items)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Malformed("the body is not valid JSON") from None


USE = [Depends(Require("use"))]
ADMIN = [Depends(Require("admin"))]
ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504)
}


def timed(body: object, call: Call) -> JSONResponse:
    """An answer with its stage timings in the Server-Timing header."""
    return JSONResponse(body, headers={"Server-Timing": call.timings().header()})
