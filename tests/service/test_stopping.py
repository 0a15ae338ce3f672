"""The last connections of a server that stops."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
import uvicorn

from service import host
from service.__main__ import Server
from service.settings import read_settings

REQUEST = b"GET /health HTTP/1.1\r\nhost: here\r\n\r\n"
CLIENTS = 7


async def app(scope: dict[str, object], receive: object, send: object) -> None:
    """Answers everything."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.mark.parametrize("loop", [host.loop_factory(), asyncio.new_event_loop], ids=["as served", "asyncio"])
def test_who_has_connected_is_answered(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Their connections wait in the kernel when the server stops, and nobody has accepted them."""

    async def scenario() -> list[bytes]:
        settings = read_settings([])
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            port=0,
            http=host.protocol(settings),
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=5,
        )
        config.load()
        server = Server(config)
        server.pages = False
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        address = server.servers[0].sockets[0].getsockname()
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
