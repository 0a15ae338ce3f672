"""Batches of like lengths from whatever is waiting, within a budget of padded tokens.

Knows callables only. Runs one batch at a time on a thread of its own; a lone request goes straight
through. All queue state lives on the event loop, so nothing is locked. Every waiter gets an answer:
a batch that fails gives its error to each of its inputs, and the next batch runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.errors import Overloaded, Unavailable
from service.metrics import clock

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ran(Generic[Result]):
    """A result, with the batch it ran in."""

    result: Result
    started: float
    finished: float
    batch_size: int
    batch_tokens: int


@dataclass
class _Entry(Generic[Item, Result]):
    item: Item
    size: int
    future: asyncio.Future[Ran[Result]]
    queued: float = field(default_factory=clock)


class Batcher(Generic[Item, Result]):
    """One queue before one callable `run(items) -> results`, in the same order.

    max_batch_tokens: padded tokens of a batch (a single larger item still runs, alone).
    max_queue_tokens: tokens that may wait. max_wait: age in seconds past which the oldest entries
    are served in order of arrival rather than of length.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        size_of: Callable[[Item], int],
        max_batch_tokens: int,
        max_queue_tokens: int,
        max_wait: float,
    ) -> None:
        self._run = run
        self._size_of = size_of
        self._max_batch_tokens = max_batch_tokens
        self._max_queue_tokens = max_queue_tokens
        self._max_wait = max_wait
        self._waiting: list[_Entry[Item, Result]] = []
        self._waiting_tokens = 0
        self._tokens_per_second = 0.0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="pgb-batch")
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue."""
        return self._waiting_tokens

    async def submit(self, items: Sequence[Item]) -> list[Ran[Result]]:
        """Admit all items or none, and wait for all. Raises Overloaded or Unavailable.

        Cancelling the call takes what still waits out of the queue.
        """
        if self._closing:
            raise Unavailable("the model is shutting down")
        entries = [self._entry(item) for item in items]
        tokens = sum(entry.size for entry in entries)
        if self._waiting and self._waiting_tokens + tokens > self._max_queue_tokens:
            raise Overloaded(f"{self._waiting_tokens} tokens are waiting already", self._drain_seconds())
        self._waiting.extend(entries)
        self._waiting_tokens += tokens
        if self._loop_task is None:
            self._loop_task = asyncio.create_task(self._serve())
        self._wake.set()
        try:
            return list(await asyncio.gather(*(entry.future for entry in entries)))
        finally:
            for entry in entries:
                entry.future.cancel()

    async def close(self) -> None:
        """Finish what waits, then stop."""
        self._closing = True
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task
        self._worker.shutdown()

    def _entry(self, item: Item) -> _Entry[Item, Result]:
        return _Entry(item, self._size_of(item), asyncio.get_running_loop().create_future())

    def _drain_seconds(self) -> float:
        return self._waiting_tokens / self._tokens_per_second if self._tokens_per_second else 1.0

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = self._next()
            if not batch:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            started = clock()
            try:
                results = await loop.run_in_executor(self._worker, self._run, [entry.item for entry in batch])
            except Exception as error:  # the waiters must hear of any failure, and the loop must live
                for entry in batch:
                    if not entry.future.done():
                        failure = Unavailable("the model failed on this batch")
                        failure.__cause__ = error
                        entry.future.set_exception(failure)
                continue
            self._answer(batch, results, started, clock())

    def _answer(
        self, batch: list[_Entry[Item, Result]], results: Sequence[Result], started: float, finished: float
    ) -> None:
        tokens = len(batch) * max(entry.size for entry in batch)
        rate = tokens / max(1e-9, finished - started)
        self._tokens_per_second = rate if not self._tokens_per_second else 0.9 * self._tokens_per_second + 0.1 * rate
        for entry, result in zip(batch, results, strict=True):
            if not entry.future.done():
                entry.future.set_result(Ran(result, started, finished, len(batch), tokens))

    def _next(self) -> list[_Entry[Item, Result]]:
        """Take the oldest entry and those that batch best with it; departed ones are dropped."""
        self._waiting = [entry for entry in self._waiting if not entry.future.done()]
        if not self._waiting:
            self._waiting_tokens = 0
            return []
        oldest = self._waiting[0]
        overdue = clock() - oldest.queued > self._max_wait
        rest = self._waiting[1:] if overdue else sorted(self._waiting[1:], key=lambda e: abs(e.size - oldest.size))
        batch, widest = [oldest], oldest.size
        for entry in rest:
            width = max(widest, entry.size)
            if width * (len(batch) + 1) > self._max_batch_tokens:
                break
            batch.append(entry)
            widest = width
        taken = {id(entry) for entry in batch}
        self._waiting = [entry for entry in self._waiting if id(entry) not in taken]
        self._waiting_tokens = sum(entry.size for entry in self._waiting)
        return batch
