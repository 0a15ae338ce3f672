"""What anyone may get costs the event loop little, however many ask for it."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.app import create_app
from service.http.compress import COMPRESS_FROM
from service.observe.metrics import clock
from service.observe.shared import Shared
from service.settings import Settings


def test_who_asks_for_metrics_at_the_same_time_gets_one_making() -> None:
    """That was made after all of them had asked; and the next one comes after a pause."""
    made: list[float] = []

    async def make() -> bytes:
        time.sleep(0.01)
        made.append(clock())
        return b"%d" % len(made)

    async def scenario() -> None:
        scrapes = Shared(make)
        assert set(await asyncio.gather(*(scrapes.next() for _ in range(50)))) == {b"1"}
        gone = asyncio.create_task(scrapes.next())
        stays = asyncio.create_task(scrapes.next())
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == b"2"
        for number in (3, 4, 5):
            asked = clock()
            assert await scrapes.next() == b"%d" % number
            assert made[-1] > asked
        assert made[-1] - made[0] > 4 * 0.035

    asyncio.run(scenario())


def test_no_two_makings_go_on_at_once_and_a_failure_reaches_who_waits() -> None:
    """Who asks while one goes on gets the next."""
    going: list[int] = []
    most: list[int] = []

    async def make() -> bytes:
        going.append(1)
        most.append(len(going))
        await asyncio.sleep(0.01)
        going.pop()
        if len(most) == 2:
            raise OSError("gone")
        return b"%d" % len(most)

    async def scenario() -> None:
        shared = Shared(make)
        first = asyncio.create_task(shared.next())
        while not going:
            await asyncio.sleep(0)
        second = [asyncio.create_task(shared.next()) for _ in range(9)]
        assert await first == b"1"
        assert {type(one) for one in await asyncio.gather(*second, return_exceptions=True)} == {OSError}
        assert await shared.next() == b"3"

    asyncio.run(scenario())
    assert most == [1, 1, 1]


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_a_crowd_of_scrapes_is_made_once(accept: str) -> None:
    """In either format; all of them have what was counted before."""
    app = create_app(Settings(artifacts=("none",)))
    app.state.instruments.rejections.labels("overloaded").inc()
    looked: list[None] = []

    class Watching(Collector):
        """Has no metrics, and knows when it is asked for them."""

        def collect(self) -> list[Metric]:
            """Once for each making."""
            looked.append(None)
            return []

    app.state.instruments.registry.register(Watching())

    async def scenario() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a", headers={"accept": accept}) as client:
            return await asyncio.gather(*(client.get("/metrics") for _ in range(20)))

    replies = asyncio.run(scenario())
    assert all('pgb_rejections_total{reason="overloaded"} 1.0' in reply.text for reply in replies)
    assert len(looked) < 5


@pytest.mark.parametrize("path", ["/openapi.json", "/ui/style.css", "/docs"])
def test_what_is_got_again_is_not_compressed_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is the same; whoever takes no gzip gets it plain."""
    app = create_app(Settings(artifacts=("none",)))

    async def got(accepted: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            return await client.get(path, headers={"accept-encoding": accepted})

    plain, first = asyncio.run(got("identity")), asyncio.run(got("gzip"))
    monkeypatch.setattr("zlib.compress", None)
    monkeypatch.setattr("zlib.compressobj", None)
    again = asyncio.run(got("gzip"))
    assert first.content == again.content == plain.content
    long = len(plain.content) >= COMPRESS_FROM
    for reply in (first, again):
        assert reply.headers.get("content-encoding") == ("gzip" if long else None)
        assert (int(reply.headers["content-length"]) < len(plain.content)) == long
