"""Answers that clients do not fetch."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn

from service.app import create_app
from service.http.client import EXTENSION
from service.http.protocol import _SHARED
from service.observe.metrics import clock
from service.settings import Settings
from tests.service.sockets import LOOPS, held_until, listening, started, until

ANSWER = 8 << 20  # more than the buffers of two sockets take
ASK = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


async def large(scope: Any, receive: Any, send: Any) -> None:
    """An application with one large answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % ANSWER)]})
    await send({"type": "http.response.body", "body": bytes(ANSWER)})


@contextmanager
def serving(most: int) -> Iterator[tuple[int, uvicorn.Server]]:
    """A server that keeps `most` bytes of answers: its port, and itself."""
    with listening(large, {"max_unsent_bytes": most}, lifespan="off", timeout_keep_alive=60) as (port, server):
        try:
            yield port, server
        finally:
            server.force_exit = True


def fetched(connection: socket.socket) -> int:
    """The bytes that come until the end, or until the whole answer is there."""
    found = 0
    while found < ANSWER and (data := connection.recv(1 << 20)):
        found += len(data)
    return found


def test_answers_that_nobody_fetches_are_limited_together() -> None:
    """Connections past the limit are ended; the others, and whoever fetches, get all."""
    with serving(2 * ANSWER) as (port, server), ExitStack() as stack:
        lazy = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(10)]
        for one in lazy:
            one.sendall(ASK)
        until(lambda: server.server_state.total_requests == len(lazy))
        until(lambda: sum(_unsent(server)) <= 2 * ANSWER)
        assert 1 < len(_unsent(server)) < len(lazy)
        eager = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        eager.sendall(ASK)
        assert fetched(eager) >= ANSWER


def test_a_single_answer_may_pass_the_limit() -> None:
    """Its client may be about to fetch it."""
    with serving(1) as (port, server), socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(ASK)
        until(lambda: server.server_state.total_requests)
        time.sleep(0.1)
        assert fetched(connection) >= ANSWER


def test_an_answer_is_fetched_whole_by_who_asks_no_more() -> None:
    """However soon an idle connection is closed."""
    with (
        listening(large, {}, lifespan="off", timeout_keep_alive=0) as (port, server),
        socket.create_connection(("127.0.0.1", port), 20) as connection,
    ):
        connection.sendall(ASK)
        until(lambda: server.server_state.total_requests)
        time.sleep(0.1)
        assert fetched(connection) >= ANSWER


def test_who_has_fetched_a_large_answer_may_ask_again_later() -> None:
    """The time that it had for fetching counts no more."""
    with (
        listening(large, {"head_seconds": 2.0}, lifespan="off", timeout_keep_alive=60) as (port, server),
        socket.create_connection(("127.0.0.1", port), 20) as connection,
    ):
        connection.sendall(ASK)
        until(lambda: server.server_state.total_requests)
        assert fetched(connection) >= ANSWER
        time.sleep(2.5)
        connection.sendall(ASK)
        assert fetched(connection) >= ANSWER


@LOOPS
@pytest.mark.parametrize("head", ["HTTP/1.0\r\n", "HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"])
def test_who_is_answered_before_the_body_may_send_it_first(
    loop: Callable[[], asyncio.AbstractEventLoop], head: str
) -> None:
    """Also on the last request of a connection, which is closed once the body has come."""

    async def scenario() -> bytes:
        server, address = await started()

        def asked() -> bytes:
            with socket.create_connection(address, 20) as client:
                client.sendall(f"POST / {head}content-length: {ANSWER}\r\n\r\n".encode())
                found = b""
                while part := client.recv(4096):
                    found += part
                client.sendall(bytes(ANSWER))
                until(lambda: not server.server_state.connections)
                return found

        try:
            return await asyncio.to_thread(asked)
        finally:
            await server.shutdown()

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(scenario()).endswith(b"\r\n\r\nok")


def _unsent(server: uvicorn.Server) -> list[int]:
    """The bytes that wait at each connection."""
    every: list[Any] = list(server.server_state.connections)
    return [one.transport.get_write_buffer_size() for one in every]


class Behind:
    """A client that has not fetched the answer before."""

    gone, behind, waits = False, True, False

    def __init__(self) -> None:
        self.received = clock()
        self.steps: list[str] = []

    async def fetched(self) -> None:
        """It fetches it."""
        self.steps.append("fetched")

    def whole(self) -> bytes:
        """The body of its next request."""
        self.steps.append("begun")
        return b""


def test_the_next_request_waits_until_answers_are_fetched() -> None:
    """Its own answer would be held beside those that are counted."""
    client = Behind()

    async def send(message: Any) -> None:
        assert message

    scope: Any = {"type": "http", "method": "GET", "path": "/v2", "query_string": b"", "headers": []}
    scope["extensions"] = {EXTENSION: client}
    app: Any = create_app(Settings())
    asyncio.run(app(scope, None, send))
    assert client.steps == ["fetched", "begun"]


@pytest.mark.parametrize(("length", "status"), [(1024, 200), (1025, 400)])
def test_an_id_that_the_answer_repeats_is_short(client: Any, length: int, status: int) -> None:
    """In the shape of the protocol's errors."""
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["the film"]}
    reply = client.post("/v2/models/mood/infer", json={"id": "a" * length, "inputs": [tensor]})
    assert reply.status_code == status
    assert set(reply.json()) == {"error"} if status == 400 else reply.json()["id"] == "a" * length


def post(body: bytes) -> bytes:
    """A request with a body."""
    return b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def ahead(server: uvicorn.Server) -> int:
    """Bytes of bodies whose requests wait for the answers before them."""
    every: list[Any] = list(server.server_state.connections)
    return sum(len(cycle.body) for one in every for cycle, _ in one.pipeline)


def waiting(server: uvicorn.Server) -> int:
    """Requests that wait for the answers before them."""
    every: list[Any] = list(server.server_state.connections)
    return sum(len(one.pipeline) for one in every)


def test_bodies_that_come_before_the_answers_before_them_are_limited_together() -> None:
    """Who holds more of them than is left is refused; who holds little finds room; all are free in the end."""
    go = threading.Event()
    size = 20_000
    limit = {"max_unsent_bytes": 4 * size}  # heads count, too
    with listening(held_until(go), limit, lifespan="off") as (port, server), ExitStack() as stack:
        stack.callback(go.set)
        *large, small = (stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(6))
        for one in large:
            one.sendall(post(b"") + post(bytes(size)))
        until(lambda: ahead(server) == 2 * size)
        small.sendall(post(b"") + post(b"a"))
        until(lambda: ahead(server) % size == 1)
        assert ahead(server) <= 3 * size
        go.set()
        answers = [_until_quiet(one) for one in (*large, small)]
        assert {answer.count(b" 200 ") for answer in answers[2:-1]} == {1}
        assert all(b" 429 " in answer for answer in answers[2:-1])
        assert [answer.count(b" 200 ") for answer in (*answers[:2], answers[-1])] == [2, 2, 2]
        assert _SHARED[server.server_state].ahead == 0


@pytest.mark.parametrize(
    ("line", "more", "most"),
    [
        (b"GET /" + b"a" * 20_000, b"", 3),
        (b"GET /%F0%9F%98%80" + b"a" * 20_000, b"", 1),
        (b"GET /", b"a: " + b"a" * 20_000 + b"\r\n", 6),
        (b"GET /", b"a:b\r\n" * 120, 7),
    ],
    ids=["a long path", "an escaped path", "a long header", "many headers"],
)
def test_heads_that_come_before_the_answers_before_them_are_limited_together(
    line: bytes, more: bytes, most: int
) -> None:
    """With the memory that they take: that of many headers, or of an escaped path, is more than what was sent. A
    connection holds at most half of 300 KB here."""
    go = threading.Event()
    one = line + b" HTTP/1.1\r\nhost: a\r\n" + more + b"\r\n"
    with (
        listening(held_until(go), {"max_unsent_bytes": 300_000}, lifespan="off") as (port, server),
        ExitStack() as stack,
    ):
        stack.callback(go.set)
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        client.sendall(ASK + one * 12)
        until(lambda: waiting(server) == most)
        assert 0 < _SHARED[server.server_state].ahead <= 150_000
        go.set()
        answers = b"".join(iter(lambda: client.recv(1 << 16), b""))
        assert [answers.count(status) for status in (b" 200 ", b" 429 ")] == [1 + most, 1]
        assert _SHARED[server.server_state].ahead == 0


def test_what_a_client_that_left_had_sent_ahead_counts_no_more() -> None:
    """Others have all of the room."""

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with listening(waiting, {}, lifespan="off", timeout_graceful_shutdown=1) as (port, server):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(post(b"") + post(b"ahead"))
            until(lambda: ahead(server))
        until(lambda: not server.server_state.connections)
        until(lambda: _SHARED[server.server_state].ahead == 0, 5)


def _until_quiet(connection: socket.socket) -> bytes:
    """What comes until the end, or until two whole answers are there."""
    found = b""
    while found.count(b"\r\n\r\n") < 2 and (data := connection.recv(1 << 16)):
        found += data
    return found
