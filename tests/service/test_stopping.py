"""The last connections and requests of a server that stops."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import struct
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from service.__main__ import configured
from service.app import create_app
from service.http.arrival import Arrival, Parts
from service.http.client import EXTENSION
from service.settings import Settings
from tests.served import serving
from tests.service.sockets import LOOPS, REQUEST, listening, metric, started, until

CLIENTS = 7


@LOOPS
def test_who_has_connected_is_answered(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Their connections wait in the kernel when the server stops, and nobody has accepted them."""

    async def scenario() -> list[bytes]:
        server, address = await started()
        clients = [socket.create_connection(address, timeout=5) for _ in range(CLIENTS)]  # the loop stands still here
        for client in clients:
            client.sendall(REQUEST)
        left = socket.create_connection(address, timeout=5)  # and goes again, with a reset
        left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left.close()
        await server.shutdown()
        found = []
        for client in clients:
            with client:
                found.append(client.recv(4096))
        return found

    with asyncio.Runner(loop_factory=loop) as runner:
        answers = runner.run(scenario())
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * CLIENTS


@LOOPS
def test_a_connection_that_is_reset_is_freed_at_once(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Also while it is idle: it would be kept, with its last request, for as long as an idle one may stay open."""

    async def scenario() -> bool:
        server, address = await started()
        with socket.create_connection(address, timeout=5) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(REQUEST)
            await asyncio.to_thread(client.recv, 4096)
            (connection,) = map(weakref.ref, server.server_state.connections)
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        gc.collect()
        freed = connection() is None
        await server.shutdown()
        return freed

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(scenario())


@LOOPS
@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_who_asks_again_on_an_idle_connection_is_answered(
    loop: Callable[[], asyncio.AbstractEventLoop], pause: float
) -> None:
    """What was sent before the server stopped, or at that moment, is not reset; who asks nothing is let go."""

    async def scenario() -> tuple[list[bytes], bytes]:
        server, address = await started()
        with socket.create_connection(address, 5) as client, socket.create_connection(address, 5) as silent:
            for one in (client, silent):
                one.sendall(REQUEST)
            found = [await asyncio.to_thread(one.recv, 4096) for one in (silent, client)][1:]
            if not pause:
                client.sendall(REQUEST)  # the loop stands still until the server stops
            stopping = asyncio.create_task(server.shutdown())
            if pause:
                await asyncio.sleep(pause)
                client.sendall(REQUEST)
            await stopping
            found.append(client.recv(4096))
            return found, silent.recv(4096)

    with asyncio.Runner(loop_factory=loop) as runner:
        answers, rest = runner.run(scenario())
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 2
    assert rest == b""


def test_who_has_asked_twice_is_answered_twice_before_the_connection_closes() -> None:
    """While the service drains; the second request came before the first one was answered."""
    app = create_app(Settings())
    with listening(app, {}, ws="none") as (port, _), socket.create_connection(("127.0.0.1", port), 20) as client:
        app.state.lifecycle.draining = True
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: here\r\n\r\n" * 2)
        found = b""
        while part := client.recv(4096):
            found += part
    assert [answer.count(b"connection: close") for answer in found.split(b"HTTP/1.1 200 OK")] == [0, 0, 1]


def test_a_request_that_is_open_when_the_time_is_over_is_told(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """With the error of its dialect and without a traceback, and it is counted as that."""
    log = tmp_path / "log"
    with serving(artifacts[0], "--drain-seconds=0.3", "--stop-seconds=1", log_file=log) as (url, process):
        head = b"POST /v1/classify HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\n{"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 20) as connection:
            connection.sendall(head)
            process.send_signal(signal.SIGTERM)
            with connection.makefile("rb") as stream:
                reply = stream.read()
        assert process.wait(20) == 0
    assert reply.startswith(b"HTTP/1.1 503")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["message"] == "the service is shutting down"
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in said if line["message"] == "POST (none)"] == [503]
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("seconds", [0.4, 1.5, 30.0])
def test_the_time_to_end_open_requests_is_not_rounded(seconds: float) -> None:
    """Of one and a half seconds the process would make two, and of two and a half two as well."""
    settings = Settings(stop_seconds=seconds)
    assert configured(create_app(settings), settings).timeout_graceful_shutdown == seconds


def loads(url: str) -> bool:
    """Whether it listens, and is not ready."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health").status_code == 503
    return False


def test_a_signal_while_an_artifact_is_read_ends_the_process(tmp_path: Path) -> None:
    """Before a model is made of it, on a thread that does not end, as where a download hangs."""
    os.mkfifo(tmp_path / "manifest.json")
    with serving(tmp_path, wait=False) as (url, process):
        until(lambda: loads(url), 120)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_signal_while_another_model_loads_drops_no_request(artifacts: tuple[Path, Path]) -> None:
    """The models that are there answer already."""
    body = b'{"inputs": "the film"}'
    head = b"POST /v1/classify HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    named = (artifacts[0], f"slow={artifacts[0]}")
    with serving(*named, module="tests.service.slowly", wait=False) as (url, process):

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return httpx.post(f"{url}/v1/classify", json={"inputs": "a"}).status_code == 200
            return False

        until(answers, 120)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 20) as connection:
            connection.sendall(head + body[:5])
            until(lambda: metric(url, "pgb_open_requests") >= 2)  # the scrape itself, and this one
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[5:])
            with connection.makefile("rb") as stream:
                reply = stream.read()
        assert process.wait(20) == 0
    assert reply.startswith(b"HTTP/1.1 200"), reply


@pytest.mark.parametrize("draining", [True, False])
def test_only_a_server_that_stops_answers_what_is_cancelled(draining: bool) -> None:
    """A request that runs when it is cancelled gets 503 then, and its connection ends; at any other time the
    cancellation goes on."""

    async def scenario() -> tuple[list[Any], bool]:
        made = create_app(Settings(artifacts=("none",)))
        made.state.lifecycle.draining = draining
        begun, sent = asyncio.Event(), []

        async def never(*_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        async def receive() -> dict[str, object]:
            if begun.is_set():
                await asyncio.Event().wait()
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        arrival = Arrival(never, Parts(**{field.name: getattr(made.state, field.name) for field in fields(Parts)}))
        client = Mock(received=0.0, behind=False, gone=False, waits=False, followed=True, whole=lambda: b"{}")
        scope: Any = {
            "type": "http",
            "method": "POST",
            "path": "/v2/models/a/infer",
            "headers": [],
            "query_string": b"",
        }
        scope["extensions"] = {EXTENSION: client}
        running = asyncio.create_task(arrival(scope, receive, send))
        await begun.wait()
        running.cancel()
        await asyncio.wait((running,))
        return sent, running.cancelled()

    sent, cancelled = asyncio.run(scenario())
    assert cancelled != draining
    assert [message.get("status") for message in sent] == ([503, None] if draining else [])
    assert [(b"connection", b"close") in message["headers"] for message in sent[:1]] == [True] * draining
