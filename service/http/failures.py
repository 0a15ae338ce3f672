"""The one table from error to status, and the shape that errors have in each dialect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service import errors
from service.observe.metrics import Call

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
# Where clients of a dialect expect another status.
EXCEPTIONS: dict[tuple[str, type[errors.ServiceError]], int] = {
    ("tei", errors.EmptyInput): 400,
    ("tei", errors.TooLarge): 422,
    ("tei", errors.UnknownModel): 424,  # /predict names no model: there is none that labels
    ("tei", errors.RuntimeFailed): 424,
    ("v2", errors.InvalidInput): 400,
    ("v2", errors.EmptyInput): 400,
    ("v2", errors.InputRejected): 400,
}
# text-embeddings-inference names its errors; anything else is a matter of the request.
TEI_TYPES: dict[type[errors.ServiceError], str] = {
    errors.Overloaded: "Overloaded",
    errors.Unavailable: "Unhealthy",
    errors.DeadlineExceeded: "Unhealthy",
    errors.RuntimeFailed: "Backend",
    errors.UnknownModel: "Backend",
    errors.EmptyInput: "Empty",
}
# Pydantic's own words repeat a bound or an allowed value, never what was sent.
_SHOWN = 4
_WORDS = {404: "no such path", 405: "that method is not allowed here"}


def dialect_of(path: str) -> str:
    """native, huggingface, tei or v2, by where a request was sent."""
    if path == "/" or path.startswith("/models/"):
        return "huggingface"
    if path in ("/predict", "/info", "/ping"):
        return "tei"
    return "v2" if path == "/v2" or path.startswith("/v2/") else "native"


def install(app: FastAPI) -> None:
    """Answer every failure in the dialect that was spoken."""
    app.add_exception_handler(errors.ServiceError, _service)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def render(dialect: str, error: errors.ServiceError) -> JSONResponse:
    """The response to an error."""
    kind = type(error)
    status = EXCEPTIONS.get((dialect, kind), STATUS[kind])
    headers = {}
    if isinstance(error, errors.Overloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return _response(dialect, error.code, str(error), status, headers, TEI_TYPES.get(kind, "Validation"))


def internal(dialect: str) -> JSONResponse:
    """The response when the fault is ours."""
    return _response(dialect, "internal", "the service failed on this request", 500, tei_type="Backend")


def _response(
    dialect: str,
    code: str,
    message: str,
    status: int,
    headers: dict[str, str] | None = None,
    tei_type: str = "Validation",
) -> JSONResponse:
    if dialect == "native":
        return JSONResponse({"error": {"code": code, "message": message}}, status, headers)
    body = {"error": message, "error_type": tei_type} if dialect == "tei" else {"error": message}
    return JSONResponse(body, status, headers)


def _dialect(request: Request) -> str:
    call: Call | None = request.scope.get("state", {}).get("call")
    return call.dialect if call else dialect_of(request.url.path)


async def _service(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ServiceError)
    return render(_dialect(request), error)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    dialect = _dialect(request)
    found = error.errors()
    if "json" not in request.headers.get("content-type", "json"):
        return _response(dialect, "malformed", "send JSON, with content-type: application/json", 415)
    known = request.app.state.field_names
    parts = [f"{_place(item, known)}: {item['msg']}" for item in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return render(dialect, errors.InvalidInput(("; ".join(parts) or "the body does not fit its schema") + more))


def _place(item: dict[str, Any], known: set[str]) -> str:
    """The field, by the schema's own names; a name that the client made up is not repeated."""
    location: Sequence[Any] = item["loc"]
    parts = [str(part) for part in location if isinstance(part, int) or part in known]
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
    return _response(_dialect(request), "http", message, error.status_code, dict(error.headers or {}))
