"""The line of long texts: turns, deadlines, departures."""

import asyncio
import threading
from collections.abc import Generator

import pytest

from pgb_core.inference.steps import all_of
from service.batching.tokenizing import _FIRST_GUESS, TokenizingLine
from service.errors import DeadlineExceeded, TooLarge, Unavailable
from service.observe.metrics import clock
from tests.service.faults import Full

NEVER = float("inf")


class Texts:
    """Work whose steps are recorded, and wait until they are let."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.go = threading.Event()

    def __call__(self, name: str, count: int, size: int = 10) -> Generator[int, None, str]:
        """`count` steps of `size` characters."""
        for _ in range(count):
            self.steps.append(name)
            assert self.go.wait(10)
            yield size
        return name.upper()


async def begun(texts: Texts, name: str) -> None:
    """Until a step of it runs."""
    while name not in texts.steps:
        await asyncio.sleep(0.001)


def test_a_short_text_waits_for_one_step_of_a_long_one() -> None:
    """Of another flow, and of the same."""

    async def scenario(flow: str) -> None:
        texts, line = Texts(), TokenizingLine(1)
        long = asyncio.create_task(line.run(texts("long", 50), "a", 500, NEVER))
        await begun(texts, "long")
        short = asyncio.create_task(line.run(texts("short", 1), flow, 10, NEVER))
        await asyncio.sleep(0.01)
        texts.go.set()
        assert await asyncio.gather(long, short) == ["LONG", "SHORT"]
        assert texts.steps.index("short") <= 2
        line.close()

    for flow in ("a", "b"):
        asyncio.run(scenario(flow))


def test_where_no_thread_starts_a_text_is_refused_and_the_next_one_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refused one is not read later."""
    system = Full(monkeypatch)

    async def scenario() -> None:
        texts, line = Texts(), TokenizingLine(1)
        texts.go.set()
        with pytest.raises(Unavailable, match="thread"):
            await line.run(texts("refused", 1), "a", 10, NEVER)
        assert line.wait_seconds("b", 10) == 0.0
        system.full = False
        assert await line.run(texts("next", 1), "a", 10, clock() + 5) == "NEXT"
        assert texts.steps == ["next"]
        line.close()

    asyncio.run(scenario())


def test_flows_take_turns_however_many_texts_one_of_them_has() -> None:
    """Ten long texts of one, one of another: steps alternate."""

    async def scenario() -> None:
        texts, line = Texts(), TokenizingLine(1)
        many = [asyncio.create_task(line.run(texts("many", 10), "a", 100, NEVER)) for _ in range(10)]
        await begun(texts, "many")
        one = asyncio.create_task(line.run(texts("one", 10), "b", 100, NEVER))
        await asyncio.sleep(0.01)
        texts.go.set()
        await asyncio.gather(one, *many)
        last = len(texts.steps) - texts.steps[::-1].index("one")
        assert texts.steps[:last].count("many") <= 12
        line.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["deadline", "departure"])
def test_nobody_tokenises_for_who_is_gone(how: str) -> None:
    """Past the deadline the waiter hears of it at once; no further step runs, for it or for who was cancelled."""

    async def scenario() -> None:
        texts, line = Texts(), TokenizingLine(1)
        deadline = clock() + 0.05 if how == "deadline" else NEVER
        task = asyncio.create_task(line.run(texts("gone", 50), "a", 500, deadline))
        await begun(texts, "gone")
        waits = asyncio.create_task(line.run(texts("waits", 50), "a", 500, deadline))
        await asyncio.sleep(0)
        if how == "deadline":
            for gone in (task, waits):
                with pytest.raises(DeadlineExceeded, match="before its answer was ready"):
                    await gone
        else:
            task.cancel()
            waits.cancel()
            await asyncio.gather(task, waits, return_exceptions=True)
        texts.go.set()
        assert await line.run(texts("next", 1), "a", 10, NEVER) == "NEXT"
        assert texts.steps == ["gone", "next"]
        assert line.wait_seconds("a", 10) == 0.0
        line.close()

    asyncio.run(scenario())


def test_what_work_raises_its_waiter_gets_and_the_next_is_served() -> None:
    """And nothing of it is waited for any more."""

    def failing() -> Generator[int, None, str]:
        yield 5
        raise TooLarge("too much")

    async def scenario() -> None:
        line = TokenizingLine(1)
        with pytest.raises(TooLarge):
            await line.run(failing(), "a", 100, NEVER)
        texts = Texts()
        texts.go.set()
        assert await line.run(texts("fine", 3), "a", 30, NEVER) == "FINE"
        assert line.wait_seconds("b", 10) == 0.0
        line.close()
        with pytest.raises(Unavailable):
            await line.run(texts("late", 1), "a", 10, NEVER)

    asyncio.run(scenario())


def test_the_wait_is_that_of_ones_own_turn() -> None:
    """A flow that asks for little waits for little of another's much."""

    async def scenario() -> None:
        texts, line = Texts(), TokenizingLine(1)
        much = asyncio.create_task(line.run(texts("much", 100, 1000), "a", 100_000, NEVER))
        await begun(texts, "much")
        assert line.wait_seconds("b", 10) <= line.wait_seconds("b", 1_000) <= line.wait_seconds("a", 10)
        assert line.wait_seconds("b", 10) < line.wait_seconds("a", 10) / 1_000
        texts.go.set()
        await much
        line.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_the_wait(threads: int) -> None:
    """Which is that of the characters, by what one takes."""

    async def scenario() -> None:
        texts, line = Texts(), TokenizingLine(threads)
        long = asyncio.create_task(line.run(texts("long", 1), "a", 600, NEVER))
        await begun(texts, "long")
        assert line.wait_seconds("b", 1_000) == pytest.approx(600 * _FIRST_GUESS / threads)
        texts.go.set()
        await long
        line.close()

    asyncio.run(scenario())


def test_work_that_reads_more_than_was_thought_leaves_the_wait_for_others_as_it_is() -> None:
    """So does work that is not tokenising, however long it takes."""

    async def scenario() -> None:
        texts, quick, line = Texts(), Texts(), TokenizingLine(2)
        long = asyncio.create_task(line.run(texts("long", 1), "a", 600, NEVER))
        await begun(texts, "long")
        before = line.wait_seconds("c", 1_000)
        quick.go.set()
        await line.run(quick("more", 5, 100), "b", 10, NEVER, learns=False)
        assert line.wait_seconds("c", 1_000) == before
        await line.run(quick("more", 5, 100), "b", 500, NEVER)
        assert line.wait_seconds("c", 1_000) != before
        texts.go.set()
        await long
        line.close()

    asyncio.run(scenario())


def test_short_work_is_done_at_once() -> None:
    """Every step, without a thread."""
    texts = Texts()
    texts.go.set()
    assert all_of(texts("word", 3)) == "WORD"
    assert texts.steps == ["word"] * 3
