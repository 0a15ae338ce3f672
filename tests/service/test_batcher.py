"""The batcher, with callables in place of models."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from service.batcher import Batcher
from service.errors import Overloaded, Unavailable


class Gate:
    """A runtime that records its batches and waits until it is opened."""

    def __init__(self, opened: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.started = threading.Event()
        self.open = threading.Event()
        if opened:
            self.open.set()

    def __call__(self, items: Sequence[str]) -> list[str]:
        """Upper-cases; fails on 'bad'."""
        self.batches.append(list(items))
        self.started.set()
        assert self.open.wait(5)
        if "bad" in items:
            raise RuntimeError("boom")
        return [item.upper() for item in items]


def batcher(gate: Gate, tokens: int = 12, queue: int = 1000, wait: float = 10.0) -> Batcher[str, str]:
    """One token a character."""
    return Batcher(gate, len, tokens, queue, wait)


async def started(gate: Gate) -> None:
    """Until the first batch runs."""
    await asyncio.to_thread(gate.started.wait, 5)


def test_a_lone_request_goes_straight_through() -> None:
    """One item, one batch, its own result."""

    async def scenario() -> None:
        gate = Gate()
        queue = batcher(gate)
        (ran,) = await queue.submit(["abc"])
        assert (ran.result, ran.batch_size, ran.batch_tokens) == ("ABC", 1, 3)
        assert ran.finished >= ran.started
        await queue.close()

    asyncio.run(scenario())


def test_what_waits_is_batched_by_length_within_the_budget() -> None:
    """Padding counts, every answer goes to its asker, and the batch that ran says how large it was."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        items = ["aaaa", "bbbbbbbbbb", "cccc", "dddddddddd", "eeee", "ffffffffffffffffffff"]
        rest = [asyncio.create_task(queue.submit([item])) for item in items]
        await asyncio.sleep(0)
        gate.open.set()
        found = [(await task)[0].result for task in rest]
        assert found == [item.upper() for item in items]
        assert gate.batches[1] == ["aaaa", "cccc", "eeee"]
        assert all(len(b) * max(map(len, b)) <= 12 or len(b) == 1 for b in gate.batches)
        await first
        await queue.close()

    asyncio.run(scenario())


def test_an_item_that_waited_too_long_stops_yielding() -> None:
    """Past the age bound the order is that of arrival."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate, tokens=20, wait=0.0)
        tasks = [asyncio.create_task(queue.submit(["go"]))]
        await started(gate)
        tasks += [asyncio.create_task(queue.submit([item])) for item in ("aaaa", "bbbbbbbbbb", "cccc", "dddd")]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
        assert gate.batches[1] == ["aaaa", "bbbbbbbbbb"]
        await queue.close()

    asyncio.run(scenario())


def test_a_failing_batch_answers_every_waiter_and_the_next_one_runs() -> None:
    """Nobody hangs, and the reason is not shown to the client."""

    async def scenario() -> None:
        gate = Gate()
        queue = batcher(gate)
        with pytest.raises(Unavailable, match="failed on this batch"):
            await queue.submit(["bad", "ok"])
        assert (await queue.submit(["fine"]))[0].result == "FINE"
        await queue.close()

    asyncio.run(scenario())


def test_a_request_is_admitted_whole_or_not_at_all() -> None:
    """Refusal says when to come back, and nothing of the refused request runs."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate, queue=10)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        second = asyncio.create_task(queue.submit(["eight..."]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await queue.submit(["x", "yyyy"])
        assert refused.value.retry_after > 0
        gate.open.set()
        await asyncio.gather(first, second)
        assert [item for batch in gate.batches for item in batch] == ["go", "eight..."]
        await queue.close()

    asyncio.run(scenario())


def test_work_of_a_client_that_left_does_not_run() -> None:
    """Cancelling takes what still waits out of the queue."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        gone = asyncio.create_task(queue.submit(["gone", "too"]))
        stays = asyncio.create_task(queue.submit(["stay"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        gate.open.set()
        await asyncio.gather(first, stays)
        assert [item for batch in gate.batches for item in batch] == ["go", "stay"]
        await queue.close()

    asyncio.run(scenario())


def test_closing_finishes_what_waits_and_refuses_the_rest() -> None:
    """Nothing accepted is lost."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate)
        tasks = [asyncio.create_task(queue.submit([item])) for item in ("one", "two", "three")]
        await started(gate)
        closing = asyncio.create_task(queue.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await queue.submit(["late"])
        gate.open.set()
        await closing
        assert [(await t)[0].result for t in tasks] == ["ONE", "TWO", "THREE"]

    asyncio.run(scenario())
