"""Servers on real sockets, in a thread of this process or on its event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from service import host
from service.app import create_app
from service.http.protocol import BoundedProtocol
from service.server import Server
from service.settings import Settings, read_settings

REQUEST = b"GET /health HTTP/1.1\r\nhost: here\r\n\r\n"
LOOPS = pytest.mark.parametrize("loop", [host.loop_factory(), asyncio.new_event_loop], ids=["as served", "asyncio"])


@contextmanager
def listening(app: Any, bounds: dict[str, Any], **more: Any) -> Iterator[tuple[int, uvicorn.Server]]:
    """An application in a thread: its port, and its server. bounds: of the protocol, by name. more: of uvicorn."""
    protocol = type("Narrow", (BoundedProtocol,), bounds)
    config = uvicorn.Config(app, port=0, http=protocol, log_config=None, **more)
    config.server_header = False
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, 60)
        yield server.servers[0].sockets[0].getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """The service in a thread, where no request is alone: a runtime that is held would hold the event loop."""
    app = create_app(settings)
    app.state.engine.in_flight += 1
    with listening(app, {}, ws="none") as (port, _):
        yield f"http://127.0.0.1:{port}"


async def started(address: str = "127.0.0.1", port: int = 0) -> tuple[Server, tuple[str, int]]:
    """A server on this event loop that answers everything, and its address."""
    config = uvicorn.Config(
        _answering,  # type: ignore[arg-type]
        host=address,
        port=port,
        http=host.protocol(read_settings([])),
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    config.load()
    server = Server(config)
    server.pages = False
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    return server, server.servers[0].sockets[0].getsockname()[:2]


async def _answering(scope: dict[str, object], receive: object, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def held_until(go: threading.Event) -> Any:
    """An application that answers with nothing, once it may."""

    async def answering(scope: object, receive: object, send: Any) -> None:
        while not go.is_set():
            await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return answering


def until(reached: Callable[[], object], seconds: float = 20) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def metric(url: str, name: str) -> float:
    """The sum of a metric's samples."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))
