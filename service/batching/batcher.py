"""One queue of inputs for one callable: admission, batches, deadlines and disconnects.

This module knows callables only, no models. A thread of its own takes a batch, runs it, and takes the next at once, so
nothing goes through the event loop between two batches. A short request that is alone runs where it is submitted,
because waking one thread and then the other can take longer than a tenth of the run. Every waiter gets an answer: when
a batch fails, its halves are run again, and so on down to the input that makes it fail.

If an input fails alone while the model's own check passes, the input is at fault. Its request gets an error that says
so, and the model stays healthy.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pgb_core.errors import out_of_memory
from service.batching.futures import expiring, settle
from service.batching.queue import Announced, Cost, Limits, Queue
from service.batching.threads import started
from service.batching.waiting import Entry
from service.errors import ENDING, DeadlineExceeded, InputRejected, RuntimeFailed, ServiceError
from service.observe import logs
from service.observe.metrics import clock

Item = TypeVar("Item")
Result = TypeVar("Result")
_CHECK_SECONDS = 1.0  # between two checks of a model whose inputs fail
_STOP_SECONDS = 5.0  # for a run that was told to stop
_BROKE = "the service failed while it ran a batch"


@dataclass(eq=False, slots=True)
class Ran(Generic[Result]):
    """A result, with the batch it ran in."""

    result: Result
    started: float
    finished: float
    batch_size: int
    batch_tokens: int
    mark: object = None


class Observer(Protocol):
    """Is told what happens to work. Called from any thread."""

    def batch(self, size: int, tokens: int, started: float, finished: float, error: BaseException | None) -> object:
        """A batch ran, or failed with an error. What is returned reaches every input of it as `Ran.mark`."""

    def saved(self, reason: str, inputs: int, tokens: int, seconds: float) -> None:
        """Waiting work was dropped: reason 'deadline', 'disconnect' or 'failure'; seconds by estimate."""


@dataclass(eq=False, slots=True)
class _Job(Generic[Item, Result]):
    """One request: its inputs, and where its results go."""

    future: asyncio.Future[None]
    deadline: float
    flow: Hashable
    tokens: int = 0
    entries: list[Entry[_Input[Item, Result]]] = field(default_factory=list)
    results: list[Ran[Result] | None] = field(default_factory=list)
    left: int = 0


@dataclass(eq=False, slots=True)
class _Input(Generic[Item, Result]):
    """One input of a job, and its place among the others."""

    job: _Job[Item, Result]
    place: int
    item: Item


_Batch = list[Entry[_Input[Any, Any]]]
_Outcome = ServiceError | list[Ran[Any]]


class Batcher(Generic[Item, Result]):
    """A queue in front of `run(items) -> results`. Results have the order of the items. Used on one event loop."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        size_of: Callable[[Item], int],
        limits: Limits,
        cost: Cost,
        observer: Observer | None = None,
        check: Callable[[], bool] = lambda: False,
    ) -> None:
        """check: whether the model itself still works; called between two batches when an input fails."""
        self._run = run
        self._size_of = size_of
        self._observer = observer
        self._queue: Queue[_Input[Item, Result]] = Queue(limits, cost)
        self.failures = 0  # batches that failed since the last one that did not
        self._check = check
        self._checked, self._well = float("-inf"), False
        self._running = False
        self._since: float | None = None  # when the batch that runs was taken
        self._abandoned = False
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._jobs: set[_Job[Item, Result]] = set()  # that are admitted and have not ended

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue."""
        return self._queue.tokens

    @property
    def waiting_inputs(self) -> int:
        """Inputs in the queue."""
        return self._queue.count

    def overdue(self, seconds: float) -> bool:
        """Whether a batch has been running for longer than that."""
        since = self._since
        return since is not None and clock() - since > seconds

    def check(self, flow: Hashable = None, body: int = 0) -> None:
        """See `Queue.check`."""
        with self._changed:
            self._queue.check(flow, body, clock())

    def announce(self, flow: Hashable, tokens: float, deadline: float, before: float = 0.0) -> Announced:
        """See `Queue.announce`; it counts until `submit` gets it, or until `withdraw`."""
        with self._changed:
            return self._queue.announce(flow, tokens, deadline, clock(), before)

    def withdraw(self, announced: Announced) -> None:
        """See `Queue.withdraw`."""
        with self._changed:
            self._queue.withdraw(announced)

    async def submit(
        self,
        items: Sequence[Item],
        deadline: float = float("inf"),
        alone: bool = False,
        flow: Hashable = None,
        body: int = 0,
        announced: Announced | None = None,
    ) -> list[Ran[Result]]:
        """Admit all items or none, and wait for all.

        deadline: an instant of `clock`. alone: nothing else is on its way, so that this event loop may be
        kept for a moment. flow: who asks; flows take turns. body: bytes that the items came in. announced:
        what was admitted for these items before they were ready. Raises Overloaded,
        DeadlineExceeded, Unavailable, or InputRejected or RuntimeFailed when `run` failed. Cancelling the
        call takes what still waits out of the queue, as the deadline does.
        """
        loop = asyncio.get_running_loop()
        now = clock()
        job: _Job[Item, Result] = _Job(loop.create_future(), deadline, flow)
        sizes = [self._size_of(item) for item in items]
        job.tokens = sum(sizes)
        job.entries = [
            Entry(_Input(job, n, item), size, now, flow, deadline)
            for n, (item, size) in enumerate(zip(items, sizes, strict=True))
        ]
        job.results = [None] * len(items)
        job.left = len(items)
        here = self._admit(job, loop, alone, body, announced)
        reason = "disconnect"  # of the client; also what cancels this call
        try:
            if here:
                self._run_here()
            if job.future.done():
                job.future.result()
            else:
                with expiring(job.future, deadline):
                    await job.future
        except DeadlineExceeded:
            reason = "deadline"
            raise
        except ServiceError:
            reason = "failure"  # of one of the request's inputs, so the others need not run
            raise
        finally:
            self._leave(job, reason)
        return [result for result in job.results if result is not None]

    async def close(self, longest: float = float("inf"), stop: Callable[[], None] = lambda: None) -> bool:
        """Finish what waits, then stop. longest: seconds that a batch may run; after them `stop` is called, which ends
        the run if it can. False when it runs even so.
        """
        with self._changed:
            self._queue.closed = True
            self._changed.notify()
        thread = self._thread
        if thread is not None and not await asyncio.to_thread(self._ended, thread, longest):
            self._abandoned = True
            stop()
            await asyncio.to_thread(thread.join, _STOP_SECONDS)
        # It hears nothing of a run that does not end. And it may own this queue, and would not be freed before the next
        # full collection.
        self._observer = None
        return thread is None or not thread.is_alive()

    def _ended(self, thread: threading.Thread, longest: float) -> bool:
        """Wait until the thread has ended; False once a batch has been running for too long."""
        while thread.is_alive() and not self.overdue(longest):
            since = self._since
            left = longest if since is None else since + longest - clock()
            thread.join(min(max(0.0, left), threading.TIMEOUT_MAX))
        return not thread.is_alive()

    def _admit(
        self,
        job: _Job[Item, Result],
        loop: asyncio.AbstractEventLoop,
        alone: bool,
        body: int,
        announced: Announced | None,
    ) -> bool:
        """Queue the job and wake the thread, or return True if the caller is to run it."""
        with self._changed:
            idle = alone and not self._running and not self._queue.count
            here = idle and self._queue.brief(job.tokens)
            if announced is not None:
                self._queue.withdraw(announced)
            if not here and self._thread is None:
                self._thread, self._loop = started(self._work, "pgb-batch"), loop
            self._queue.admit(job.entries, clock(), body)
            self._jobs.add(job)
            if here:
                self._running = True
                return True
            self._changed.notify()
            return False

    def _leave(self, job: _Job[Item, Result], reason: str) -> None:
        """The job has ended: remove its waiting inputs, and stop counting its work."""
        with self._changed:
            gone = [entry for entry in job.entries if self._queue.discard(entry)] if job.left else []
            self._queue.leave(job.flow, job.tokens)
            self._jobs.discard(job)
            job.entries = []  # each of which holds the job
        self._save(gone, reason)

    def _save(self, gone: Sequence[Entry[Any]], reason: str) -> None:
        observer = self._observer
        if gone and observer is not None:
            tokens = sum(entry.size for entry in gone)
            observer.saved(reason, len(gone), tokens, tokens * self._queue.seconds_per_token)

    def _run_here(self) -> None:
        try:
            while batch := self._next():
                self._run_batch(batch, _deliver)
        except BaseException as error:
            for job in self._reset(error):
                settle(job.future, RuntimeFailed(_BROKE))
            if isinstance(error, ENDING):
                raise

    def _work(self) -> None:
        """The thread's work. If it breaks, whoever waits is told, and the next request starts another thread."""
        try:
            self._run_all()
        except BaseException as error:
            jobs = self._reset(error, thread_ends=True)
            if self._loop is not None:
                for job in jobs:
                    self._loop.call_soon_threadsafe(settle, job.future, RuntimeFailed(_BROKE))

    def _reset(self, error: BaseException, thread_ends: bool = False) -> list[_Job[Item, Result]]:
        """What chooses or runs batches broke: nothing runs now. The jobs that wait, whose inputs leave the queue."""
        logs.LOGGER.error("unexpected", exc_info=error)
        error.__traceback__ = None  # its frames hold a batch
        with self._changed:
            self._running, self._since = False, None
            if thread_ends:
                self._thread = None
            self.failures += 1
            jobs = list(self._jobs)
            for job in jobs:
                for entry in job.entries:
                    self._queue.discard(entry)
            self._changed.notify()
        return jobs

    def _run_all(self) -> None:
        while True:
            with self._changed:
                while self._running or not self._queue.count:
                    if self._queue.closed and not self._running:
                        return
                    self._changed.wait()
                self._running = True
            while batch := self._next():
                self._run_batch(batch, self._send)

    def _next(self) -> _Batch:
        """The next batch; if it is empty, the caller stops running batches."""
        with self._changed:
            now = clock()
            batch, late = self._queue.take(now)
            if late:
                self._save(late, "deadline")
            self._running = bool(batch)
            self._since = now if batch else None
            return batch

    def _run_batch(self, batch: _Batch, send: Callable[[_Batch, _Outcome], None]) -> None:
        sizes = [entry.size for entry in batch]
        tokens = len(batch) * max(sizes)
        started = clock()
        try:
            results = self._run([entry.item.item for entry in batch])
        except ENDING:
            raise
        except BaseException as error:  # the waiters must hear of any failure, and the thread must live
            self._observe(len(batch), tokens, started, error)
            if self._abandoned:  # no part of it is run again
                send(batch, RuntimeFailed("the model was stopped while it ran"))
                return
            if len(batch) == 1:
                send(batch, self._verdict(error.with_traceback(None)))  # its frames hold the batch, and that this error
                return
        else:
            finished = clock()
            self.failures = 0
            self._queue.learn(sum(sizes), finished - started)
            mark = self._observe(len(batch), tokens, started)
            send(batch, [Ran(result, started, finished, len(batch), tokens, mark) for result in results])
            return
        half = len(batch) // 2
        self._run_batch(batch[:half], send)
        self._run_batch(batch[half:], send)

    def _verdict(self, error: BaseException) -> ServiceError:
        """The error for an input that failed alone: the input's fault if the model's check passes, else the model's."""
        scarce = out_of_memory(error)
        if clock() - self._checked > _CHECK_SECONDS:
            self._well = self._check()
            self._checked = clock()
        failure: ServiceError
        if self._well and not scarce:
            failure = InputRejected("the model cannot run one of the inputs")
        else:
            failure = RuntimeFailed("the model ran out of memory" if scarce else "the model failed on this input")
        self.failures = 0 if self._well else self.failures + 1
        failure.__cause__ = error
        return failure

    def _observe(self, size: int, tokens: int, started: float, error: BaseException | None = None) -> object:
        observer = self._observer  # which may go at any moment
        return None if observer is None else observer.batch(size, tokens, started, clock(), error)

    def _send(self, batch: _Batch, outcome: _Outcome) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_deliver, batch, outcome)


def _deliver(batch: _Batch, outcome: _Outcome) -> None:
    if isinstance(outcome, ServiceError):
        for entry in batch:
            settle(entry.item.job.future, outcome)
        return
    for entry, ran in zip(batch, outcome, strict=True):
        job = entry.item.job
        job.results[entry.item.place] = ran
        job.left -= 1
        if not job.left:
            settle(job.future, None)
