"""The addresses at which the service listens, and what it says of them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest

from service.settings import SettingsError
from tests.service.sockets import LOOPS, REQUEST, started


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no address of IPv6")


async def answers(address: str, port: int) -> bool:
    """Whether a request to this address is answered."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return False
    writer.write(REQUEST)
    found = await reader.read(4096)
    writer.close()
    return found.startswith(b"HTTP/1.1 200")


@LOOPS
@pytest.mark.parametrize(
    ("given", "ipv4", "ipv6"),
    [
        ("127.0.0.1", True, False),
        ("::1", False, True),
        ("0.0.0.0", True, False),  # noqa: S104
        ("::", True, True),
        ("0:0:0:0:0:0:0:0", True, True),
    ],
)
def test_a_server_listens_where_the_setting_says(
    given: str, ipv4: bool, ipv6: bool, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """`::` is every address, and `0.0.0.0` every one of IPv4; afterwards nobody listens there."""

    async def scenario() -> tuple[bool, bool, bool]:
        server, (_, port) = await started(given)
        found = [await answers(address, port) for address in ("127.0.0.1", "::1")]
        await server.shutdown()
        return found[0], found[1], await answers("127.0.0.1", port) or await answers("::1", port)

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(scenario()) == (ipv4, ipv6, False)


@LOOPS
@pytest.mark.parametrize("given", ["::1", "::"])
def test_a_port_that_is_taken_is_told_with_the_address_in_brackets(
    given: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """As addresses of IPv6 stand before a port."""

    async def scenario(port: int) -> None:
        await started(given, port)

    with socket.create_server((given, 0), family=socket.AF_INET6) as taken, asyncio.Runner(loop_factory=loop) as runner:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError) as error:
            runner.run(scenario(port))
    assert str(error.value) == f"cannot listen on [{given}]:{port}: address already in use"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "localhost"),  # noqa: S104
        ("::", "localhost"),
        ("0::0", "localhost"),
        ("::1", "[::1]"),
    ],
)
def test_the_log_has_an_address_that_a_browser_takes(
    given: str, said: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that means all of this machine is `localhost`."""
    monkeypatch.setattr(logging.getLogger("pgb"), "propagate", True)

    async def scenario() -> int:
        server, (_, port) = await started(given)
        await server.shutdown()
        return port

    with caplog.at_level(logging.INFO, "pgb"):
        port = asyncio.run(scenario())
    (listening,) = [record.fields for record in caplog.records if record.message == "listening"]  # type: ignore[attr-defined]
    assert listening["address"] == f"http://{said}:{port}"
