"""What every dialect needs from a request.

These are plain functions of the request, and one dependency for keys. There are no more dependencies because FastAPI
resolves them for every request, and each one costs as much as parsing the body.
"""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Path, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from pydantic_core import to_json

from pgb_core.inference.tasks.qa import Answer
from service.engine import Engine
from service.errors import Malformed
from service.keys import Keys, secrets_of
from service.models.registry import Registry
from service.models.repository import Repository
from service.observe.metrics import Call

Name = Annotated[str, Path(description="Name of a served model")]


def documented(error: type[BaseModel], *more: int) -> dict[int | str, dict[str, object]]:
    """The errors of a dialect for the OpenAPI document, by status. more: those that not every dialect has."""
    return {status: {"model": error} for status in sorted((400, 401, 403, 404, 408, 413, 429, 503, 504, *more))}


def call_of(request: Request) -> Call:
    """The account of this request."""
    return cast(Call, request.scope["state"]["call"])


def header_of(request: Request, name: bytes) -> str | None:
    """A header's value; None when it is not there. name: in small letters. Raises Malformed where it has two values."""
    found = {value for given, value in request.scope["headers"] if given == name}
    if len(found) > 1:
        raise Malformed("a header is there twice, with two values; send it once")
    return str(found.pop(), "latin-1") if found else None


def takes(accepted: str, encoding: str) -> bool:
    """Whether an Accept-Encoding header names this encoding, and does not exclude it by a weight of 0."""
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == encoding:
            return not _excludes(weight)
    return False


def _excludes(weight: str) -> bool:
    """Whether it is a weight of 0, or one that is no number."""
    name, found, value = weight.partition("=")
    if not found or name.strip() != "q":
        return False
    try:
        return not float(value) > 0
    except ValueError:
        return True


async def body_of(request: Request) -> bytes:
    """What was sent, which `Arrival` has read whole."""
    return call_of(request).body or await request.body()


def engine_of(request: Request) -> Engine:
    """The application's engine."""
    return cast(Engine, request.app.state.engine)


def registry_of(request: Request) -> Registry:
    """The models that answer."""
    return engine_of(request).registry


def repository_of(request: Request) -> Repository:
    """What loads and unloads models."""
    return cast(Repository, request.app.state.repository)


def shown(answer: Answer | None) -> dict[str, object]:
    """An answer to a question as the pipeline writes it. None: the context holds none, which is an empty text of score
    0, because clients expect an answer.
    """
    one = answer or Answer("", 0, 0, 0.0)
    return {"answer": one.text, "start": one.start, "end": one.end, "score": one.score}


class Require(HTTPBearer):
    """A dependency that lets a request through only with a key of a scope, where keys are set."""

    def __init__(self, scope: str) -> None:
        super().__init__(scheme_name="key", description="A key, where keys are set; x-api-key is another header for it")
        self.scope = scope

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        """Raises Unauthorized or Forbidden."""
        keys: Keys = request.app.state.keys
        if keys.required or self.scope != "use":
            call_of(request).owner = keys.check(secrets_of(request.headers), self.scope)


USE = [Depends(Require("use"))]
ADMIN = [Depends(Require("admin"))]


class _Timed(JSONResponse):
    """Made at once, as its headers are always the same."""

    def __init__(self, body: object, call: Call) -> None:
        self.status_code = 200
        self.background = None
        self.body = to_json(body, inf_nan_mode="null")
        self.raw_headers = [
            (b"server-timing", call.timings().header().encode()),
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        ]


def timed(body: object, call: Call) -> JSONResponse:
    """An answer with its stage timings in the Server-Timing header. What is no number, as no model gives, is null."""
    return _Timed(body, call)
