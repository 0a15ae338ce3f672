"""Routes that are answered past the framework answer as they would through it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.client import EXTENSION
from service.http.compress import COMPRESS_FROM, takes
from service.observe.metrics import clock
from service.settings import Settings
from tests.served import serving
from tests.service.faults import Panic

TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["the film"]}
ASKED: list[tuple[str, Any]] = [
    ("/v1/classify", {"inputs": ["the film", "the town"], "top_k": 1}),
    ("/v1/classify", {"inputs": []}),
    ("/v1/classify", {"inputs": "the film", "model": "none"}),
    ("/v1/models/mood/classify", {"inputs": "the film"}),
    ("/v1/answer", {"question": "who", "context": "the town sang"}),
    ("/", {"inputs": "the film"}),
    ("/models/mood", {"inputs": ["the film"]}),
    ("/models/none", {"inputs": ["the film"]}),
    ("/predict", {"inputs": "the film"}),
    ("/v2/models/mood/infer", {"inputs": [TENSOR]}),
    ("/v2/models/mood/infer", {"inputs": []}),
    ("/v2/models/none/infer", {"inputs": [TENSOR]}),
    ("/v1/models/mood:predict", {"instances": ["the film"]}),
    ("/v1/models/who:predict", {"instances": [{"question": "who", "context": "the town sang"}]}),
    ("/v1/models/none:predict", {"instances": ["the film"]}),
    ("/invocations", {"inputs": "the film"}),
]


@pytest.fixture(scope="module")
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """Both models."""
    with TestClient(create_app(Settings(artifacts=tuple(map(str, artifacts)), threads=1)), "http://a", False) as found:
        yield found


@pytest.mark.parametrize(("path", "body"), ASKED)
def test_a_query_takes_the_usual_way_to_the_same_answer(client: TestClient, path: str, body: object) -> None:
    """Status, headers and body, but for times and names of requests."""
    short, usual = client.post(path, json=body), client.post(f"{path}?x=1", json=body)
    assert short.status_code == usual.status_code
    told = {"x-request-id", "server-timing", "content-length"}
    told |= {name for name in short.headers if name.startswith("x-") and name.endswith("-time")}
    assert {n: v for n, v in short.headers.items() if n not in told} == {
        n: v for n, v in usual.headers.items() if n not in told
    }
    both = [reply.json() for reply in (short, usual)]
    if isinstance(both[0], dict):
        for one in both:
            one.pop("timings", None)
    assert both[0] == both[1]


def test_a_version_may_stand_in_the_query_of_v2(client: TestClient) -> None:
    """It is documented there, since the function takes one."""
    assert client.post("/v2/models/mood/infer?version=none", json={"inputs": [TENSOR]}).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "gzip"),
    [
        *(("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip; q=1.0", True)),
        *(("gzip;q=0", False), ("gzip ; q=0.000, br", False), ("x-gzip", False), ("gzip;q=a", False)),
        *(("identity", False), ("*", False), ("", False), ("gzip;q=nan", False)),
    ],
)
def test_an_encoding_is_used_for_whom_names_it(accepted: str, gzip: bool) -> None:
    """And does not exclude it."""
    assert takes(accepted, "gzip") == gzip


def test_an_answer_of_v2_is_not_deflated_for_whom_excludes_that(client: TestClient) -> None:
    """Nor left to gzip for whom excludes gzip."""
    tensor = {**TENSOR, "shape": [120], "data": ["the film"] * 120}
    for accepted, used in (("deflate;q=0", None), ("deflate, gzip;q=0", "deflate"), ("deflate, gzip", "gzip")):
        reply = client.post("/v2/models/mood/infer", json={"inputs": [tensor]}, headers={"accept-encoding": accepted})
        assert reply.headers.get("content-encoding") == used


@pytest.mark.parametrize("accepted", ["gzip", "identity", "gzip;q=0"])
def test_a_long_answer_is_compressed_for_whom_it_may_be(client: TestClient, accepted: str) -> None:
    """As every other answer is."""
    body = {"inputs": ["the film"] * 120}
    reply = client.post("/v1/classify", json=body, headers={"accept-encoding": accepted})
    assert len(reply.content) >= COMPRESS_FROM
    assert reply.headers.get("content-encoding") == ("gzip" if accepted == "gzip" else None)
    assert reply.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["/", "/?a=1"], ids=["directly", "through FastAPI"])
@pytest.mark.parametrize("error", [ZeroDivisionError, Panic])
def test_what_nobody_expected_is_a_500_in_the_dialect(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, error: type[BaseException]
) -> None:
    """No handler knows it; and it is counted as that."""

    def fail(*_: object) -> None:
        raise error("out of range")

    def counted() -> float:
        found = re.findall(r'pgb_requests_total\{.*status="500"\} (\S+)', client.get("/metrics").text)
        return sum(map(float, found))

    before = counted()
    monkeypatch.setattr(client.app.state.engine, "classify", fail)  # type: ignore[attr-defined]
    reply = client.post(path, json={"inputs": "the film"})
    assert (reply.status_code, reply.json()) == (500, {"error": "the service failed on this request"})
    assert counted() == before + 1


class Gone:
    """A client of whom the server tells that it leaves while its request waits."""

    gone = behind = waits = False

    def __init__(self, body: bytes) -> None:
        self.received = clock()
        self._body: bytes | None = body
        self.watched = 0

    def whole(self) -> bytes | None:
        """All came."""
        body, self._body = self._body, None
        return body

    def watch(self, leave: Any) -> Any:
        """It leaves in a moment."""
        self.watched += 1
        return asyncio.get_running_loop().call_later(0.05, leave).cancel


@pytest.mark.parametrize("told", [True, False])
def test_a_request_whose_client_leaves_is_cancelled(artifacts: tuple[Path, Path], told: bool) -> None:
    """Whether the server tells, or ASGI's next message does; and the task goes on."""
    app = create_app(Settings(artifacts=(str(artifacts[0]),), threads=1))
    sent, body = [], b'{"inputs": "the film"}'
    client = Gone(body)
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            reached = asyncio.Event()

            async def waiting(*_: object) -> None:
                reached.set()
                await asyncio.sleep(20)

            app.state.engine.classify = waiting
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/v1/classify",
                "query_string": b"",
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
                "extensions": {EXTENSION: client} if told else {},
            }
            await asyncio.wait_for(app(scope, receive, send), 10)
            assert reached.is_set()
            await asyncio.sleep(0)  # nothing of the cancellation is left

    asyncio.run(scenario())
    assert not sent
    assert client.watched == told
    assert app.state.engine.in_flight == 0
    assert 'status="499"' in app.state.instruments.text().decode()


def test_a_real_client_that_leaves_is_seen(artifacts: tuple[Path, Path]) -> None:
    """With a body that was larger than what is read at once, too."""
    with serving(artifacts[0], "--threads", "1") as (url, _):
        body = json.dumps({"inputs": ["the film " * 1_500] * 60}).encode()
        head = b"POST /v1/classify HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
                connection.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        found = ""
        until = time.monotonic() + 20
        while 'status="499"} 2.0' not in found and time.monotonic() < until:
            found = httpx.get(f"{url}/metrics").text
        assert 'status="499"} 2.0' in found
