"""The one table from errors to statuses. A dialect defines its own exceptions to it, and its error bodies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from service import errors
from service.dialects.base import Dialect, spoken
from service.dialects.common import call_of
from service.dialects.strict import said
from service.http.paths import path_of

STATUS: dict[type[errors.ServiceError], int] = {
    errors.InvalidInput: 422,
    errors.EmptyInput: 422,
    errors.InputRejected: 422,
    errors.Malformed: 400,
    errors.UnknownModel: 404,
    errors.WrongTask: 400,
    errors.TooLarge: 413,
    errors.TooSlow: 408,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.LoadFailed: 424,
    errors.Unavailable: 503,
    errors.RuntimeFailed: 503,
}
# Pydantic's own words repeat a bound or an allowed value, never what was sent.
_SHOWN = 4
_OTHER_KIND = {"string_type", "list_type", "dict_type", "model_type", "model_attributes_type"}
_WORDS = {404: "no such path", 405: "that method is not allowed here"}
_CODES = {415: errors.Malformed.code}


def install(app: FastAPI) -> None:
    """Answer every error in the dialect of its request."""
    app.add_exception_handler(errors.ServiceError, _service)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def status_of(dialect: Dialect, kind: type[errors.ServiceError]) -> int:
    """The status of an error in a dialect."""
    return dialect.statuses.get(kind, STATUS[kind])


def render(dialect: Dialect, error: errors.ServiceError) -> JSONResponse:
    """The response to an error. The error itself is released."""
    let_go(error)
    headers = {}
    if isinstance(error, errors.Overloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(dialect.error(error.code, str(error)), status_of(dialect, type(error)), headers)


def let_go(error: BaseException | None) -> None:
    """Remove the stack frames from an error, and from the errors that it replaced.

    If a future in one of the frames holds the error, only a garbage collection would free the frames, and the request's
    body with them.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def internal(dialect: Dialect) -> JSONResponse:
    """The response to a fault of the service."""
    return JSONResponse(dialect.error("internal", "the service failed on this request"), 500)


def no_path(dialect: Dialect) -> JSONResponse:
    """The response where no route can be meant."""
    return JSONResponse(dialect.error("http", _WORDS[404]), 404)


async def answer_to(request: Request, error: Exception) -> Response:
    """The response of an error's handler; the error is released. Raises the error if it has no handler."""
    handlers = request.app.exception_handlers
    for kind in type(error).__mro__:
        if kind in handlers:
            answer: Response = await handlers[kind](request, error)
            let_go(error)
            return answer
    raise error


def _dialect(request: Request) -> Dialect:
    """The dialect that the body showed, if it did; otherwise the dialect of the path."""
    meant: Dialect | None = request.scope.get("state", {}).get("dialect")
    if meant is not None:
        return meant
    return spoken(request.app.state.dialects, request.scope["method"], path_of(request.scope))


async def _service(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ServiceError)
    call_of(request).fault = STATUS[type(error)] >= 500  # a dialect may write another status
    return render(_dialect(request), error)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    dialect = _dialect(request)
    known = request.app.state.field_names
    found = _of_the_form(error.errors(), known)
    parts = [f"{_place(item, known)}: {said(item)}" for item in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return render(dialect, errors.InvalidInput(("; ".join(parts) or "the body does not fit its schema") + more))


def _of_the_form(found: Sequence[dict[str, Any]], known: set[str]) -> list[dict[str, Any]]:
    """Without the errors that say of a value that it might have been of another kind, such as a text in place of a
    list, where others say what is wrong with it as what it is."""
    places = [(*_parts(item, known),) for item in found]
    within = {place[:size] for place in places for size in range(len(place))}
    meant = {place for item, place in zip(found, places, strict=True) if item["type"] not in _OTHER_KIND}
    told = [
        item
        for item, place in zip(found, places, strict=True)
        if item["type"] not in _OTHER_KIND or not (place in within or place in meant)
    ]
    return told or list(found)


def _parts(item: dict[str, Any], known: set[str]) -> list[str]:
    location: Sequence[Any] = item["loc"]
    return [str(part) for part in location if isinstance(part, int) or part in known]


def _place(item: dict[str, Any], known: set[str]) -> str:
    """The place of a field, in names of the schema; names that the client made up are not repeated."""
    parts = _parts(item, known)
    if item["type"] == "extra_forbidden":
        parts.append("(unknown field)")
    return ".".join(parts) or "body"


def field_names(openapi: dict[str, Any]) -> set[str]:
    """Every name that the schemas of an application give a field or a parameter."""
    schemas = openapi.get("components", {}).get("schemas", {})
    names = {name for schema in schemas.values() for name in schema.get("properties", {})}
    for path in openapi.get("paths", {}).values():
        for operation in path.values():
            names |= {parameter["name"] for parameter in operation.get("parameters", ())}
    return names


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = _WORDS.get(error.status_code, str(error.detail))
    body = _dialect(request).error(_CODES.get(error.status_code, "http"), message)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request, headers.get("Allow", "").split(", ")))
    return JSONResponse(body, error.status_code, headers)


def _allowed(request: Request, said: Sequence[str]) -> list[str]:
    """All methods of a path. If several routes share the path, an error names only those of the first."""
    methods = set(said)
    route = request.scope.get("route")
    if isinstance(route, APIRoute) and methods == route.methods:
        same = [other for other in request.app.routes if isinstance(other, APIRoute) and other.path == route.path]
        methods = methods.union(*(other.methods or () for other in same))
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)
