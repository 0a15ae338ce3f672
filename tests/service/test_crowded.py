"""More connections than there may be, most of them one client's, which keeps them busy."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from service.http.connections import Connections
from service.http.protocol import BoundedProtocol
from service.keys import make_key
from tests.served import serving

MOST = 10
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"
BODY = b'{"inputs": ""}'


def first(connections: Connections[Any], count: int, most: int = MOST) -> list[Any]:
    """Who has to go when a new connection comes as the last of so many."""
    connections.rests("new")
    return connections.surplus(count, most)


def test_the_connection_that_has_been_idle_longest_goes_first() -> None:
    """Whoever holds some, as long as that is no more than half; one that goes is not counted again."""
    shared: Connections[Any] = Connections()
    for name in ("idle", "idler"):
        shared.rests(name)
    for number in range(MOST // 2):
        shared.holds(number, "a")
    assert first(shared, MOST) == []
    assert first(shared, MOST + 1) == ["idle"]
    assert first(shared, MOST + 1) == []
    shared.rests("idle")  # it answered at this moment
    shared.holds("idle", "a")
    shared.closed("idle")
    assert first(shared, MOST + 1) == ["idler"]


def test_who_holds_most_goes_before_the_new_one() -> None:
    """Its oldest connection first; and before idle ones if it holds more than half."""
    shared: Connections[Any] = Connections()
    for number in range(3):
        shared.holds(("b", number), "b")
    for number in range(4):
        shared.holds(("a", number), "a")
    shared.holds(("a", 0), "a")  # known before
    assert first(shared, MOST + 1) == [("a", 0)]
    shared.closed("new")
    shared.rests("idle")
    for number in range(4, 9):
        shared.holds(("a", number), "a")
    shared.frees(("a", 1))  # its body came whole: it is being answered
    assert first(shared, MOST + 2) == [("a", 2)]


def test_the_new_one_goes_if_nobody_holds_several() -> None:
    """Each of the others has a request of its own; those that are being answered are not even asked."""
    shared: Connections[Any] = Connections()
    for number in range(MOST):
        shared.holds(number, f"client {number}")
    assert first(shared, MOST + 1) == ["new"]
    assert first(Connections(), MOST + 1) == ["new"]


def test_a_connection_counts_as_its_key_s_once_that_is_known() -> None:
    """And no more as its address's."""
    shared: Connections[Any] = Connections()
    for number in range(4):
        shared.holds(number, "address")
    for number in range(1, 4):
        shared.holds(number, "key")
    assert first(shared, MOST + 1) == [1]


@contextmanager
def connected(port: int, count: int, sent: bytes, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connections one after the other, on each of which this was sent."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
            found.append(stack.enter_context(one))
            with suppress(ConnectionError):  # it had to go
                one.sendall(sent)
        yield found


def test_connections_from_one_network_of_ipv6_count_together() -> None:
    """Their addresses differ, but they can be one host's."""

    async def scenario() -> list[tuple[str, str]]:
        config = uvicorn.Config(application, log_config=None, lifespan="off")
        state = ServerState()
        found = []
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            connection = BoundedProtocol(config=config, server_state=state, app_state={})
            transport = Mock()
            transport.get_extra_info.return_value.getpeername.return_value = (address, 1, 0, 0)
            connection.connection_made(transport)
            connection._stop_clock()
            found.append(connection._whose)
        return found

    first, second, third = asyncio.run(scenario())
    assert first == second != third


def answered(connection: socket.socket, sent: bytes) -> bytes:
    """The first bytes of the answer to this, which is empty where there is none."""
    with suppress(ConnectionError):
        connection.sendall(sent)
        return connection.recv(4096)
    return b""


def test_a_client_that_leaves_its_bodies_unfinished_keeps_nobody_out(
    artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    """Neither probes nor other keys; another one's unfinished body still may come, and the client is told."""
    keys = {name: make_key(tmp_path / "keys", name, "use") for name in ("greedy", "other")}

    def begun(name: str) -> bytes:
        head = f"POST /v1/classify HTTP/1.1\r\nhost: a\r\nx-api-key: {keys[name]}\r\ncontent-length: {len(BODY)}"
        return head.encode() + b"\r\ncontent-type: application/json\r\n\r\n" + BODY[:1]

    options = ("--keys-file", tmp_path / "keys", "--max-connections", MOST, "--threads", "1")
    with serving(artifacts[0], *map(str, options)) as (url, _):
        port = int(url.rpartition(":")[2])
        with connected(port, 1, begun("other")) as (other,), connected(port, 3 * MOST, begun("greedy")) as greedy:
            for _ in range(MOST):
                assert httpx.get(f"{url}/v2/health/live").status_code == 200
                asked = httpx.post(f"{url}/v1/classify", json={"inputs": "a"}, headers={"x-api-key": keys["other"]})
                assert asked.status_code == 200
            assert answered(other, BODY[1:]).startswith(b"HTTP/1.1 422")
            assert greedy[0].recv(4096).startswith(b"HTTP/1.1 429")
            assert answered(greedy[-1], BODY[1:]).startswith(b"HTTP/1.1 422")
        refused = httpx.get(f"{url}/metrics").text
    count = 'pgb_connections_refused_total{reason="crowded"} '
    assert float(refused.partition(count)[2].partition("\n")[0]) >= 2 * MOST


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers late at /late, with much at /large, and with little at once elsewhere."""
    if scope["path"] == "/late":
        await asyncio.sleep(1.5)
    size = 8 << 20 if scope["path"] == "/large" else 2
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": bytes(size)})


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    """A server of that application, on few connections."""
    protocol = type("Narrow", (BoundedProtocol,), {"max_connections": MOST})
    settings: dict[str, Any] = {"port": 0, "log_config": None, "lifespan": "off"}
    found = uvicorn.Server(uvicorn.Config(application, http=protocol, **settings))
    thread = threading.Thread(target=found.run)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not found.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield found
    finally:
        found.should_exit = found.force_exit = True
        thread.join()


def asking(path: str) -> bytes:
    """A request."""
    return f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode()


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_a_client_that_does_not_fetch_its_answers_keeps_nobody_out(server: uvicorn.Server, source: str) -> None:
    """Of its own address or another; more requests behind them change nothing."""
    port = server.servers[0].sockets[0].getsockname()[1]
    with connected(port, MOST, asking("/large") * 3):
        time.sleep(0.3)
        for _ in range(MOST):
            with connected(port, 1, b"", source) as (one,):
                assert answered(one, LIVE).startswith(b"HTTP/1.1 200")


def test_requests_that_are_being_answered_are_never_given_up(server: uvicorn.Server) -> None:
    """Not even where a body comes behind them; then the new one has to go."""
    port = server.servers[0].sockets[0].getsockname()[1]
    behind = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1"
    with connected(port, MOST, asking("/late") + behind) as accepted:
        time.sleep(0.3)
        with connected(port, 3, b"", "127.0.0.2") as new:
            assert [answered(one, LIVE) for one in new] == [b""] * 3
        assert [one.recv(4096)[:12] for one in accepted] == [b"HTTP/1.1 200"] * MOST
        time.sleep(0.1)  # what comes behind is begun
        with connected(port, 1, b"", "127.0.0.2") as (one,):
            assert answered(one, LIVE).startswith(b"HTTP/1.1 200")
