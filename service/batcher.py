"""One line of waiting inputs before one callable: admission, batches, deadlines, departures.

Knows callables only. A thread of its own takes a batch, runs it, and takes the next at once: between
two batches nothing goes through the event loop. A lone and brief request runs where it is submitted:
waking one thread and then the other can take longer than a tenth of the run. Every waiter gets an
answer: an input that fails in company is run again alone, so that it fails nobody else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from service.errors import DeadlineExceeded, Overloaded, RuntimeFailed, ServiceError, Unavailable
from service.metrics import clock
from service.waiting import Entry, WaitingRoom

Item = TypeVar("Item")
Result = TypeVar("Result")
_SETTLING = 0.1
_MARGIN = 1.15  # for what an estimate leaves out: a busy event loop, sending
_BRIEF = 0.01  # seconds that a lone request may keep the event loop from everything else


@dataclass(frozen=True)
class Cost:
    """Seconds that a batch takes: `fixed` for being run, and `per_token` for each padded token."""

    fixed: float
    per_token: float

    @property
    def launch(self) -> float:
        """Tokens that take as long as starting a batch does."""
        return self.fixed / self.per_token


@dataclass(frozen=True)
class Limits:
    """batch_tokens: padded, of one batch. queue_tokens and queue_seconds: what may wait, and how long
    it takes at most, by estimate, until what is admitted has run. overtake: seconds by which an input
    may always be younger than the oldest and run with it."""

    batch_tokens: int
    queue_tokens: int
    queue_seconds: float
    overtake: float


@dataclass(frozen=True)
class Ran(Generic[Result]):
    """A result, with the batch it ran in."""

    result: Result
    started: float
    finished: float
    batch_size: int
    batch_tokens: int
    mark: object = None


class Observer(Protocol):
    """Hears what happens to work. Called from any thread."""

    def batch(self, size: int, tokens: int, started: float, finished: float, error: Exception | None) -> object:
        """A batch ran, or failed with an error. What is returned reaches every input of it as `Ran.mark`."""

    def saved(self, reason: str, inputs: int, tokens: int, seconds: float) -> None:
        """Waiting work was dropped: reason 'deadline', 'disconnect' or 'failure'; seconds by estimate."""


@dataclass(eq=False, slots=True)
class _Job(Generic[Item, Result]):
    """One request: its inputs, and where its results go."""

    future: asyncio.Future[None]
    deadline: float
    entries: list[Entry[tuple[_Job[Item, Result], int, Item]]] = field(default_factory=list)
    results: list[Ran[Result] | None] = field(default_factory=list)
    left: int = 0


_Batch = list[Entry[tuple[_Job[Any, Any], int, Any]]]
_Outcome = ServiceError | list[Ran[Any]]


class Batcher(Generic[Item, Result]):
    """One line before `run(items) -> results`, in the same order. Made and used on one event loop."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        size_of: Callable[[Item], int],
        limits: Limits,
        cost: Cost,
        observer: Observer | None = None,
    ) -> None:
        self._run = run
        self._size_of = size_of
        self._limits = limits
        self._observer = observer
        self._room: WaitingRoom[tuple[_Job[Item, Result], int, Item]] = WaitingRoom(
            limits.batch_tokens, cost.launch, limits.overtake
        )
        self._fixed = cost.fixed
        self._seconds_per_token = cost.per_token + cost.fixed / limits.batch_tokens
        self._busy_until = 0.0
        self._usual = 0.0  # tokens of a request
        self._failures = 0
        self._running = False
        self._closing = False
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def waiting_tokens(self) -> int:
        """Tokens in line."""
        return self._room.tokens

    @property
    def waiting_inputs(self) -> int:
        """Inputs in line."""
        return self._room.count

    @property
    def failures(self) -> int:
        """Batches that failed since the last one that did not."""
        return self._failures

    def wait_seconds(self) -> float:
        """How long an input that came now would wait, by estimate."""
        return max(0.0, self._busy_until - clock()) + self._room.tokens * self._seconds_per_token

    def check(self) -> None:
        """Raises Overloaded when a request of the usual size would be refused now."""
        with self._changed:
            self._check(self._usual)

    async def submit(
        self, items: Sequence[Item], deadline: float = float("inf"), alone: bool = False
    ) -> list[Ran[Result]]:
        """Admit all items or none, and wait for all.

        deadline: an instant of `clock`. alone: nothing else is on its way, so that this event loop may be
        kept for a moment. Raises Overloaded, DeadlineExceeded, Unavailable, or what `run` raised as
        RuntimeFailed. Cancelling the call takes what still waits out of line, as the deadline does.
        """
        loop = asyncio.get_running_loop()
        now = clock()
        job: _Job[Item, Result] = _Job(loop.create_future(), deadline)
        job.entries = [Entry((job, n, item), self._size_of(item), now) for n, item in enumerate(items)]
        job.results = [None] * len(items)
        job.left = len(items)
        here = self._admit(job, loop, now, alone)
        reason = "disconnect"  # of the client; also what cancels this call
        timer = None if deadline == float("inf") else loop.call_later(deadline - now, _expire, job.future)
        try:
            if here:
                self._run_here()
            await job.future
        except DeadlineExceeded:
            reason = "deadline"
            raise
        except ServiceError:
            reason = "failure"  # of one of the request's inputs, so the others need not run
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if job.left:
                self._leave(job, reason)
        return [result for result in job.results if result is not None]

    async def close(self) -> None:
        """Finish what waits, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._observer = None  # it may own this line, and would not be freed before the next full collection

    def _admit(self, job: _Job[Item, Result], loop: asyncio.AbstractEventLoop, now: float, alone: bool) -> bool:
        """Put it in line, and wake the thread; or leave it asleep and return True: run it here."""
        tokens = sum(entry.size for entry in job.entries)
        with self._changed:
            if self._closing:
                raise Unavailable("the model is shutting down")
            self._usual += _SETTLING * (tokens - self._usual)
            self._check(tokens)
            if job.deadline <= now:
                raise DeadlineExceeded("the request's time was over before it was queued")
            if now + (wait := self.wait_seconds()) > job.deadline:
                raise Overloaded("the wait is longer than the time that the request gives", wait)
            here = alone and not self._running and not self._room.count and self._brief(tokens)
            for entry in job.entries:
                self._room.add(entry)
            if here:
                self._running = True
                return True
            if self._thread is None:
                self._loop = loop
                self._thread = threading.Thread(target=self._work, name="pgb-batch", daemon=True)
                self._thread.start()
            self._changed.notify()
            return False

    def _brief(self, tokens: int) -> bool:
        return self._fixed + tokens * self._seconds_per_token < _BRIEF

    def _check(self, tokens: float) -> None:
        wait = self.wait_seconds()
        full = self._room.tokens + tokens > self._limits.queue_tokens
        # What comes later and overtakes it delays it too.
        run = wait + max(wait / 2, min(wait, self._limits.overtake)) + tokens * self._seconds_per_token
        late = _MARGIN * run > self._limits.queue_seconds
        if self._room.count and (full or late):
            raise Overloaded(f"{self._room.tokens} tokens are waiting already", wait)

    def _leave(self, job: _Job[Item, Result], reason: str) -> None:
        with self._changed:
            gone = [entry for entry in job.entries if self._room.discard(entry)]
        self._save(gone, reason)

    def _save(self, gone: Sequence[Entry[Any]], reason: str) -> None:
        if gone and self._observer is not None:
            tokens = sum(entry.size for entry in gone)
            self._observer.saved(reason, len(gone), tokens, tokens * self._seconds_per_token)

    def _run_here(self) -> None:
        while batch := self._next():
            self._run_batch(batch, _deliver)

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._running or not self._room.count:
                    if self._closing and not self._running:
                        return
                    self._changed.wait()
                self._running = True
            while batch := self._next():
                self._run_batch(batch, self._send)

    def _next(self) -> _Batch:
        """The next batch; if there is none, whoever ran is done."""
        with self._changed:
            batch = self._take()
            self._running = bool(batch)
            return batch

    def _take(self) -> _Batch:
        now = clock()
        while True:
            batch = self._room.take(now)
            alive = [entry for entry in batch if entry.item[0].deadline > now]
            self._save([entry for entry in batch if entry.item[0].deadline <= now], "deadline")
            if alive or not batch:
                break
        self._busy_until = now + sum(entry.size for entry in alive) * self._seconds_per_token
        return alive

    def _run_batch(self, batch: _Batch, send: Callable[[_Batch, _Outcome], None]) -> None:
        tokens = len(batch) * max(entry.size for entry in batch)
        started = clock()
        try:
            results = self._run([entry.item[2] for entry in batch])
        except Exception as error:  # the waiters must hear of any failure, and the thread must live
            self._observe(len(batch), tokens, started, error)
            if len(batch) > 1:
                for entry in batch:
                    self._run_batch([entry], send)
                return
            self._failures += 1
            failure = RuntimeFailed("the model failed on this input")
            failure.__cause__ = error
            send(batch, failure)
            return
        finished = clock()
        self._failures = 0
        self._learn(sum(entry.size for entry in batch), finished - started)
        mark = self._observe(len(batch), tokens, started)
        send(batch, [Ran(result, started, finished, len(batch), tokens, mark) for result in results])

    def _learn(self, tokens: int, seconds: float) -> None:
        if 4 * tokens >= self._limits.batch_tokens:
            self._seconds_per_token += _SETTLING * (seconds / tokens - self._seconds_per_token)

    def _observe(self, size: int, tokens: int, started: float, error: Exception | None = None) -> object:
        return None if self._observer is None else self._observer.batch(size, tokens, started, clock(), error)

    def _send(self, batch: _Batch, outcome: _Outcome) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_deliver, batch, outcome)


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(DeadlineExceeded("the request's time was over before its answer was ready"))


def _deliver(batch: _Batch, outcome: _Outcome) -> None:
    for place, entry in enumerate(batch):
        job, index, _ = entry.item
        if job.future.done():
            continue
        if isinstance(outcome, ServiceError):
            job.future.set_exception(outcome)
            continue
        job.results[index] = outcome[place]
        job.left -= 1
        if not job.left:
            job.future.set_result(None)
