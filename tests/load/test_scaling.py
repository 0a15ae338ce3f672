"""The laws of scaling, and the generator that sends what the planner simulates."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from benchmarks.open_load import requests, send
from benchmarks.scaling import Law, held, layouts
from service.planning.arrivals import Arrival


def test_a_law_is_found_again() -> None:
    """From its own throughputs; Amdahl's is that without crosstalk."""
    for law in (Law(100.0, 0.05, 0.002), Law(100.0, 0.2, 0.0), Law(50.0, 0.0, 0.0)):
        measured = {n: law.at(n) for n in (1, 2, 4, 8)}
        found = Law.fitted(measured)
        assert (found.first, found.serial, found.crosstalk) == pytest.approx(
            (law.first, law.serial, law.crosstalk), abs=1e-9
        )
        assert held(measured)["universal"]["off by"] == pytest.approx(0.0, abs=1e-3)
    assert Law(1.0, 0.1, 0.0).at(10) == pytest.approx(10 / 1.9)


def test_two_points_hold_no_law() -> None:
    """They are fitted, and nothing is said of how well."""
    found = held({1: 100.0, 2: 160.0})
    assert found["amdahl"] == {"serial": 0.25, "crosstalk": 0.0}
    assert "universal" not in found


def test_layouts_end_at_all_cores() -> None:
    """Both with threads and with processes, and there are few enough for a few minutes."""
    assert layouts(1) == [(1, 1)]
    assert layouts(2) == [(1, 1), (1, 2), (2, 1)]
    for cores in (6, 64):
        found = layouts(cores)
        assert {(1, 1), (1, cores), (cores, 1)} <= set(found)
        assert len(found) <= 9


@pytest.fixture
def server() -> Iterator[str]:
    """It answers 200 to a body with `good`, 429 to one with `full`, and closes the connection on any other."""
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            body = await reader.readexactly(int(head.rpartition(b"content-length: ")[2].strip()))
            if b"good" not in body and b"full" not in body:
                break
            status = b"200 OK" if b"good" in body else b"429 Too Many Requests"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    listening = loop.run_until_complete(asyncio.start_server(handled, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(listening.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_every_request_is_sent_when_it_is_due_and_counted_once(server: str) -> None:
    """By what came back; those before `skip` are not counted."""
    arrivals = [Arrival(0.01 * n, (1 + n % 3,)) for n in range(60)]
    bodies = requests(arrivals, {1: ["good"], 2: ["full"], 3: ["neither"]})
    found = send([server, server], arrivals, bodies, skip=0.295)
    assert (len(found.latencies), found.refused, found.failed) == (10, 10, 10)
    assert found.seconds == pytest.approx(0.59 - 0.295)
    assert found.latencies == sorted(found.latencies)
    assert found.goodput <= 10 / found.seconds
