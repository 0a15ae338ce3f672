"""With the collector of cycles off, no head or body outlives its request: the event loop need not stop to collect."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from pgb_core.artifact import open_artifact
from service.engine import Engine
from service.observe import logs
from service.settings import Settings
from tests.service.faults import Held
from tests.service.sockets import LOOPS, held_until, listening, running, started, until

SIZE, TIMES = 600_000, 6
LONG = b"a" * 9_999
JSON = {"content-type": "application/json"}
TEXTS = ["the film " * 600] * 100


@pytest.fixture
def collector_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As long as the test, and so is the log: pytest would keep what it tells of errors, with their frames."""
    monkeypatch.setattr(logs.LOGGER, "disabled", True)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


def check_nothing_is_kept(send: Callable[[], None]) -> None:
    """Of several requests with bodies of `SIZE`, which the client has made before. The first makes what stays: threads,
    connections, caches."""
    send()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(TIMES):
        send()
    until(lambda: tracemalloc.get_traced_memory()[0] - before < SIZE, 5)
    tracemalloc.stop()


def post(url: str, body: bytes, status: int, path: str = "/v1/classify", **headers: str) -> None:
    """On a connection that is closed afterwards."""
    assert httpx.post(url + path, content=body, headers=JSON | headers, timeout=30).status_code == status


def address(url: str) -> tuple[str, int]:
    """Where to connect."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def encoded(encoding: str, body: bytes = b"a" * SIZE) -> bytes:
    """A request as it goes over the wire."""
    head = ("POST /v1/classify HTTP/1.1", "host: a", "content-type: application/json")
    lines = (*head, f"content-encoding: {encoding}", f"content-length: {len(body)}", "", "")
    return "\r\n".join(lines).encode() + body


def alive() -> int:
    """Requests of uvicorn that are not freed yet."""
    return sum(type(one) is RequestResponseCycle for one in gc.get_objects())


def heads_held() -> int:
    """Heads of requests that are not freed yet: each has a long value."""
    return sum(type(one) is tuple and len(one) == 2 and one[1:] == (LONG,) for one in gc.get_objects())


@LOOPS
@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("together", [1, 8])
def test_no_head_of_an_answered_request_is_kept(loop: Callable[[], asyncio.AbstractEventLoop], together: int) -> None:
    """However many came at once. An idle connection holds its last request without the head, a closed one nothing."""
    one = b"GET / HTTP/1.1\r\nhost: a\r\nx-long: " + LONG + b"\r\n\r\n"

    async def scenario() -> None:
        server, place = await started()
        reader, writer = await asyncio.open_connection(*place)
        for _ in range(16 // together):
            writer.write(one * together)
            for _ in range(together):
                await reader.readuntil(b"\r\n\r\nok")
        await asyncio.sleep(0.1)
        idle = alive(), heads_held()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.1)
        closed = alive(), heads_held()
        await server.shutdown()
        assert (idle, closed) == ((1, 0), (0, 0))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("body", [b"", b"content-length: 9\r\n\r\nabc"])
def test_no_head_is_kept_of_requests_that_wait_when_their_client_leaves(body: bytes) -> None:
    """Not even while the request before them goes on; the last one may have been refused, with a part of its body."""
    go = threading.Event()
    one = b"GET / HTTP/1.1\r\nhost: a\r\nx-long: " + LONG + b"\r\n"
    with listening(held_until(go), {}, lifespan="off") as (port, server):
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + (one + b"\r\n") * 5 + (one + body if body else b""))
            until(lambda: heads_held() >= 5)
        until(lambda: not server.server_state.connections)
        until(lambda: heads_held() == 0, 5)
        go.set()
        until(lambda: alive() == 0, 5)


REFUSED = {
    "malformed": (b'{"inputs": "' + b"a" * SIZE, 400),
    "invalid": (json.dumps({"inputs": 7, "x": "a" * SIZE}).encode(), 422),
    "too long": (json.dumps({"inputs": "a" * SIZE}).encode(), 413),
    "unknown model": (json.dumps({"inputs": "the film", "model": "n" * SIZE}).encode(), 404),
    "too late": (json.dumps({"inputs": TEXTS, "timeout_ms": 0.001}).encode(), 504),
    "not to be cut": (json.dumps({"inputs": TEXTS, "truncate": False}).encode(), 422),
    "too large": (b"a" * (5 << 20), 413),
}


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize(("body", "status"), REFUSED.values(), ids=REFUSED)
def test_no_body_of_a_refused_request_is_kept(body: bytes, status: int, artifacts: tuple[Path, Path]) -> None:
    """Whoever refuses it: the gate before the body, the parser, the schema, the engine, the queue."""
    with running(Settings(artifacts=(str(artifacts[0]),), threads=1)) as url:
        check_nothing_is_kept(lambda: post(url, body, status))


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("path", ["/v2/models/who/infer", "/v1/answer"])
def test_no_body_is_kept_of_a_request_whose_texts_are_too_long(path: str, artifacts: tuple[Path, Path]) -> None:
    """Found on another thread, whose frames come with the error; v2 answers with an error of its own instead of it."""
    contexts = ["the film " * 600] * 100
    if path == "/v1/answer":
        asked: object = {"inputs": [{"question": "who", "context": context} for context in contexts]}
    else:
        tensors = {"question": ["who"] * len(contexts), "context": contexts}
        shape = [len(contexts), 1]
        asked = {"inputs": [{"name": n, "shape": shape, "datatype": "BYTES", "data": d} for n, d in tensors.items()]}
    body = json.dumps(asked).encode()
    with running(Settings(artifacts=(str(artifacts[1]),), threads=1, max_windows=2)) as url:
        check_nothing_is_kept(lambda: post(url, body, 413 if path == "/v1/answer" else 400, path))


@pytest.mark.usefixtures("collector_off")
def test_no_body_is_kept_while_its_connection_is(artifacts: tuple[Path, Path]) -> None:
    """Refused before it is read: the connection holds the request until it asks for another, not its body."""
    with running(Settings(artifacts=(str(artifacts[0]),), threads=1)) as url:
        whole, clients = encoded("br"), ExitStack()
        with clients:

            def send() -> None:
                client = clients.enter_context(socket.create_connection(address(url), 10))
                client.sendall(whole)
                assert client.recv(4096).startswith(b"HTTP/1.1 400")

            check_nothing_is_kept(send)


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("well", [True, False])
def test_no_body_of_a_failed_request_is_kept(held: tuple[str, Held], artifacts: tuple[Path, Path], well: bool) -> None:
    """By the model's fault, or by the input's; each failure has frames that hold the request."""
    url, runtime = held
    runtime.broken = not well
    if well:
        runtime.bad = open_artifact(artifacts[0]).manifest.max_length
    body = json.dumps({"inputs": TEXTS}).encode()
    check_nothing_is_kept(lambda: post(url, body, 422 if well else 503))


@pytest.mark.usefixtures("collector_off")
def test_no_body_is_kept_of_a_request_that_met_a_fault_of_ours(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has where it happened."""
    with running(Settings(artifacts=(str(artifacts[0]),), threads=1)) as url:
        monkeypatch.setattr(Engine, "_check", lambda *_: 1 / 0)
        body = json.dumps({"inputs": "a" * SIZE}).encode()
        check_nothing_is_kept(lambda: post(url, body, 500))


@pytest.mark.usefixtures("collector_off")
def test_no_body_of_a_cancelled_request_is_kept(held: tuple[str, Held]) -> None:
    """Its client left while it waited for the model."""
    url, runtime = held
    whole = encoded("identity", json.dumps({"inputs": TEXTS}).encode())

    def send() -> None:
        runtime.batches.clear()
        runtime.go.clear()
        with socket.create_connection(address(url), 10) as client:
            client.sendall(whole)
            until(lambda: bool(runtime.batches))
        time.sleep(0.1)
        runtime.go.set()
        until(lambda: httpx.get(f"{url}/metrics").text.count("pgb_open_requests 1.0") == 1)

    check_nothing_is_kept(send)
