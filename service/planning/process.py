"""Simulates a process that serves a model: the service's own queue, with a simulated clock and measured times.

A process has two things that work: an event loop, which reads, tokenises and answers, and a model, which runs batches.
Both run on the cores of the process. The model has as many threads as there are cores. So while both work,
`threads + 1` threads share `threads` cores evenly, and each goes at `threads / (threads + 1)` of its speed.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from service.batching.queue import Limits, Queue
from service.batching.waiting import Entry
from service.errors import DeadlineExceeded, Overloaded
from service.planning.arrivals import Arrival
from service.planning.profile import Overhead, Size

NEVER = math.inf  # an instant
_BYTES = 4  # of a body for each token, as many as admission takes a token to have at least


@dataclass(frozen=True)
class Replica:
    """What one replica is, and what its service is set to.

    request_seconds: after which a request that still waits is given up.
    """

    size: Size
    overhead: Overhead
    limits: Limits
    request_seconds: float
    max_length: int


@dataclass(eq=False, slots=True)
class Request:
    """A request at a process. at: the instant at which it came. left: inputs that have not run."""

    at: float
    lengths: tuple[int, ...]
    tokens: int
    client: str | int
    left: int = 0
    ended: bool = False
    refused: bool = False


Ended = Callable[[Request, float, bool], None]


class Process:
    """One serving process. `ended` hears of each request that is answered (True) or refused."""

    def __init__(self, replica: Replica, draw: random.Random, ended: Ended) -> None:
        threads = replica.size.threads
        cost = replica.size.times.cost(replica.max_length)
        self.open = 0  # requests
        self.next = NEVER  # instant at which something ends
        self.model_seconds = self.loop_seconds = self.core_seconds = 0.0
        self._threads = threads
        self._shared = threads / (threads + 1)
        self._times = replica.size.times.seconds
        self._spread = replica.size.spread
        self._overhead = replica.overhead
        self._patience = replica.request_seconds
        self._draw = draw
        self._ended = ended
        self._queue: Queue[Request] = Queue(replica.limits.sliced(cost), cost)
        self._line: deque[Request] = deque()  # what the event loop has yet to do
        self._read: Request | None = None
        self._batch: list[Entry[Request]] = []
        self._here = False  # whether the batch runs on the event loop
        self._started = 0.0  # when the batch did
        self._loop_left = self._model_left = NEVER  # seconds of work
        self._last = 0.0

    def come(self, arrival: Arrival, now: float) -> None:
        """A request arrives."""
        self._advance(now)
        self.open += 1
        self._line.append(Request(now, arrival.lengths, sum(arrival.lengths), arrival.client))
        if self._read is None and not self._here:
            self._begin(now)
        self._plan(now)

    def step(self, now: float) -> None:
        """What ends at `next` ends."""
        self._advance(now)
        if self._batch and self._model_left <= self._loop_left:
            self._finish(now)
        elif self._read is not None:
            self._submit(self._read, now)
        self._plan(now)

    def _advance(self, now: float) -> None:
        passed = now - self._last
        self._last = now
        if self._read is not None:
            self.loop_seconds += passed
        if self._batch:
            speed = self._shared if self._read is not None else 1.0
            self._model_left -= passed * speed
            self.model_seconds += passed
            self.core_seconds += passed * speed * self._threads
            if self._read is not None:
                self._loop_left -= passed * speed
                self.core_seconds += passed * speed
        elif self._read is not None:
            self._loop_left -= passed
            self.core_seconds += passed

    def _plan(self, now: float) -> None:
        both = self._batch and self._read is not None
        left = max(0.0, min(self._loop_left, self._model_left))
        self.next = now + (left / self._shared if both else left)

    def _begin(self, now: float) -> None:
        """The event loop takes the next request, and reads it unless it would be refused."""
        self._read, self._loop_left = None, NEVER
        if not self._line:
            return
        request = self._read = self._line.popleft()
        try:
            self._queue.check(request.client, _BYTES * request.tokens, now)
        except Overloaded:
            request.refused = True
            self._loop_left = self._overhead.per_request
        else:
            self._loop_left = self._overhead.seconds(len(request.lengths), request.tokens)

    def _submit(self, request: Request, now: float) -> None:
        """A request was read."""
        self._read, self._loop_left = None, NEVER
        if request.refused:
            self._end(request, now, False)
            self._begin(now)
            return
        alone = self.open == 1 and not self._batch and not self._queue.count
        deadline = request.at + self._patience
        entries = [Entry(request, length, now, request.client, deadline) for length in request.lengths]
        try:
            self._queue.admit(entries, now, _BYTES * request.tokens)
        except (Overloaded, DeadlineExceeded):
            self._end(request, now, False)
            self._begin(now)
            return
        request.left = len(entries)
        if not self._batch:
            self._here = alone and self._queue.brief(request.tokens)
            self._start(now)
        if not self._here:
            self._begin(now)

    def _start(self, now: float) -> None:
        """The model takes the next batch."""
        self._batch, late = self._queue.take(now)
        for entry in late:
            if not entry.item.ended:
                self._queue.leave(entry.flow, entry.item.tokens)
                self._end(entry.item, now, False)
        if not self._batch:
            self._model_left, self._here = NEVER, False
            return
        width = max([entry.size for entry in self._batch])
        spread = self._spread[int(self._draw.random() * len(self._spread))]
        self._model_left = self._times(len(self._batch), width) * spread
        self._started = now

    def _finish(self, now: float) -> None:
        """The batch has run."""
        batch, here = self._batch, self._here
        self._queue.learn(sum([entry.size for entry in batch]), now - self._started)
        for entry in batch:
            request = entry.item
            request.left -= 1
            if not request.left and not request.ended:
                self._queue.leave(entry.flow, request.tokens)
                # It has got a 504 by then, unless it was run on the loop, which has no time for that.
                self._end(request, now, here or now <= request.at + self._patience)
        self._start(now)
        if here and not self._batch:
            self._begin(now)

    def _end(self, request: Request, now: float, answered: bool) -> None:
        request.ended = True
        self.open -= 1
        self._ended(request, now, answered)
