"""A dialect is one folder: the tiny one below is all that a new one needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from service import errors
from service.app import create_app
from service.dialects import DIALECTS
from service.dialects.base import Dialect, spoken
from service.dialects.common import USE, call_of, engine_of, timed
from service.dialects.strict import Strict, StrictRoute
from service.engine import Labelling, Target
from service.settings import Settings

router = APIRouter(route_class=StrictRoute, dependencies=USE)


class Asked(Strict):
    """One text."""

    say: str


@router.post("/tiny/{name}")
async def best(name: str, asked: Asked, request: Request) -> JSONResponse:
    """The best label alone."""
    call = call_of(request)
    ((score, *_),) = await engine_of(request).classify(call, Target(name), [asked.say], Labelling())
    return timed(score.label, call)


TINY = Dialect(
    name="tiny",
    routes=router.routes,
    paths=re.compile(r"/tiny/.*"),
    work=re.compile(r"/tiny/(?P<model>[^/]+)"),
    error=lambda code, message: {"no": [code, message]},
    statuses={errors.UnknownModel: 418},
)


@pytest.fixture
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """The application with one dialect more."""
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1)
    with TestClient(create_app(settings, dialects=(*DIALECTS, TINY))) as found:
        yield found


def test_a_dialect_answers_and_is_counted(client: TestClient) -> None:
    """In its own way, with the stages in the header as everywhere."""
    reply = client.post("/tiny/mood", json={"say": "the film"})
    assert reply.status_code == 200
    assert reply.json() == client.post("/", json={"inputs": "the film"}).json()[0][0]["label"]
    assert "infer;dur=" in reply.headers["server-timing"]
    assert 'pgb_requests_total{dialect="tiny",model="mood",status="200"} 1.0' in client.get("/metrics").text
    assert "/tiny/{name}" in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/tiny/other", b'{"say": "a"}', {}, 418, "unknown_model"),
        ("/tiny/mood", b"{", {}, 400, "malformed"),
        ("/tiny/mood", b"{}", {}, 422, "invalid_input"),
        ("/tiny/mood", b"{}", {"content-encoding": "br"}, 400, "malformed"),
        ("/tiny/mood", b"{}", {"content-type": "text/plain"}, 415, "malformed"),
        ("/tiny/a/b", b"{}", {}, 404, "http"),
    ],
)
def test_every_error_has_the_dialect_s_body(
    client: TestClient, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """From engine, parser, schema, the gate before the body, and router; its status differs where it says so."""
    reply = client.post(path, content=body, headers={"content-type": "application/json", **headers})
    assert reply.status_code == status
    assert reply.json()["no"][0] == code


def test_a_route_that_takes_more_than_a_strict_one_reads_is_not_made() -> None:
    """It would get its parameters from nowhere."""

    async def ask(asked: Asked, request: Request, limit: int = 3) -> JSONResponse:
        return JSONResponse(limit)

    with pytest.raises(TypeError, match="/more: takes more than"):
        APIRouter(route_class=StrictRoute).post("/more")(ask)
    with pytest.raises(TypeError, match="/more: takes more than"):
        APIRouter(route_class=StrictRoute).post("/more", dependencies=[Depends(lambda: None)])(best)


def test_no_path_is_two_dialects_and_no_route_is_another_s() -> None:
    """What decides the shape of an error agrees with what answers."""
    for dialect in DIALECTS:
        for route in dialect.routes:
            path = getattr(route, "path", "")
            assert spoken(DIALECTS, "POST", path) is dialect
            assert [other.name for other in DIALECTS if other.paths.fullmatch(path)] == [dialect.name]
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)
    assert spoken(DIALECTS, "GET", "/nowhere") is DIALECTS[0]


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/", "native"),
        ("HEAD", "/", "native"),
        ("POST", "/", "huggingface"),
        ("GET", "/v1/models", "native"),
        ("GET", "/v1/models/mood", "kserve"),
        ("POST", "/v1/models/mood:predict", "kserve"),
        ("POST", "/v1/models/mood/classify", "native"),
        ("GET", "/v1/models/", "native"),
        ("POST", "/invocations", "sagemaker"),
        ("GET", "/v2/", "v2"),
    ],
)
def test_a_path_is_of_the_dialect_that_answers_it(method: str, path: str, name: str) -> None:
    """Where two could claim it, too."""
    assert spoken(DIALECTS, method, path).name == name


def test_the_document_does_not_tell_where_the_code_lies() -> None:
    """Two schemas of one name are told apart by their modules."""
    assert "service__" not in str(create_app(Settings()).openapi())
