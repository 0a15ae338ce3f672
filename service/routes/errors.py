"""The one table from error to status, and the shape errors have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service import errors

STATUS: dict[type[errors.ServiceError], int] = {
    errors.InvalidInput: 422,
    errors.UnknownModel: 404,
    errors.WrongTask: 400,
    errors.TooLarge: 413,
    errors.Overloaded: 429,
    errors.Unavailable: 503,
}
# Pydantic's own words repeat a bound or an allowed value, never what was sent.
_SHOWN = 4


def install(app: FastAPI) -> None:
    """Answer every failure as `{"error": {"code", "message"}}`."""
    app.add_exception_handler(errors.ServiceError, _service)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def body(code: str, message: str, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    """One error response."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _service(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ServiceError)
    headers = None
    if isinstance(error, errors.Overloaded):
        headers = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return body(error.code, str(error), STATUS[type(error)], headers)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return body("invalid_json", "the body is not valid JSON", 400)
    parts = [f"{_place(item['loc'])}: {item['msg']}" for item in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return body("invalid_input", ("; ".join(parts) or "the body does not fit its schema") + more, 422)


def _place(location: Sequence[Any]) -> str:
    """The field, by the schema's own names; a name that the client made up is not repeated."""
    known = {"inputs", "model", "activation", "top_k", "question", "context", "text", "pair", "max_answer_length"}
    known |= {"max_length", "stride", "handle_impossible", "align_to_words", "body"}
    parts = [str(p) if isinstance(p, int) or p in known else "(unknown)" for p in location if p != "body"]
    return ".".join(parts) or "body"


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    words = {404: "no such path", 405: "that method is not allowed here"}
    message = words.get(error.status_code, str(error.detail))
    return body("http", message, error.status_code, dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return body("internal", "the service failed on this request", 500)
