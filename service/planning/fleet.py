"""Simulates processes that serve a model: the service's own queue, with a simulated clock and measured times.

A process has two things that work: an event loop, which reads, tokenises and answers, and a model, which runs batches.
Both run on the cores of the process. The model has as many threads as there are cores. So while both work,
`threads + 1` threads share `threads` cores evenly, and each goes at `threads / (threads + 1)` of its speed.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from service.batching.queue import Limits, Queue
from service.batching.waiting import Entry
from service.errors import DeadlineExceeded, Overloaded
from service.planning.arrivals import Arrival, Load
from service.planning.profile import Overhead, Size

Balance = Literal["round-robin", "least-connections"]
ROUND_ROBIN: Balance = "round-robin"
LEAST_CONNECTIONS: Balance = "least-connections"
BALANCES: tuple[Balance, ...] = (ROUND_ROBIN, LEAST_CONNECTIONS)
_BYTES = 4  # of a body for each token, as many as admission takes a token to have at least
_FEW = 20  # requests
_NEVER = math.inf


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


@dataclass(frozen=True)
class Goal:
    """What must hold: the 99th percentile of seconds, and the share of requests that are refused."""

    p99: float
    refused: float


@dataclass(frozen=True)
class Outcome:
    """What a simulation showed. latencies: seconds of the answered requests, ascending. refused: how many were refused,
    or given up after `request_seconds`. model, cores: shares of the time that models ran, and that cores were in use.
    missed: whether it was ended early because its goal was missed already."""

    latencies: Sequence[float]
    refused: int
    seconds: float
    model: float
    cores: float
    missed: bool = False

    @property
    def requests(self) -> int:
        """All that are counted."""
        return len(self.latencies) + self.refused

    @property
    def refused_share(self) -> float:
        """Refused requests as a share of all."""
        return self.refused / max(1, self.requests)

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the answers came; infinite where there is no answer."""
        if not self.latencies:
            return math.inf
        return self.latencies[min(len(self.latencies) - 1, math.ceil(share * len(self.latencies)) - 1)]

    def holds(self, goal: Goal) -> bool:
        """Whether the goal is met; without any request it is."""
        if not self.requests:
            return not self.missed
        return not self.missed and self.refused_share <= goal.refused and self.percentile(0.99) <= goal.p99


@dataclass(eq=False, slots=True)
class _Request:
    at: float
    lengths: tuple[int, ...]
    tokens: int
    client: str | int
    left: int = 0
    ended: bool = False
    refused: bool = False


Ended = Callable[[_Request, float, bool], None]


class Process:
    """One serving process. `ended` hears of each request that is answered (True) or refused."""

    def __init__(self, replica: Replica, draw: random.Random, ended: Ended) -> None:
        threads = replica.size.threads
        cost = replica.size.times.cost(replica.max_length)
        self.open = 0  # requests
        self.next = _NEVER  # instant at which something ends
        self.model_seconds = self.core_seconds = 0.0
        self._threads = threads
        self._shared = threads / (threads + 1)
        self._times = replica.size.times.seconds
        self._spread = replica.size.spread
        self._overhead = replica.overhead
        self._patience = replica.request_seconds
        self._draw = draw
        self._ended = ended
        self._queue: Queue[_Request] = Queue(replica.limits.sliced(cost), cost)
        self._line: deque[_Request] = deque()  # what the event loop has yet to do
        self._read: _Request | None = None
        self._batch: list[Entry[_Request]] = []
        self._here = False  # whether the batch runs on the event loop
        self._started = 0.0  # when the batch did
        self._loop_left = self._model_left = _NEVER  # seconds of work
        self._last = 0.0

    def come(self, arrival: Arrival, now: float) -> None:
        """A request arrives."""
        self._advance(now)
        self.open += 1
        self._line.append(_Request(now, arrival.lengths, sum(arrival.lengths), arrival.client))
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
        self._read, self._loop_left = None, _NEVER
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

    def _submit(self, request: _Request, now: float) -> None:
        """A request was read."""
        self._read, self._loop_left = None, _NEVER
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
            self._model_left, self._here = _NEVER, False
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
                self._end(request, now, True)
        self._start(now)
        if here and not self._batch:
            self._begin(now)

    def _end(self, request: _Request, now: float, answered: bool) -> None:
        request.ended = True
        self.open -= 1
        self._ended(request, now, answered)


def simulate(
    replica: Replica, replicas: int, balance: Balance, load: Load, seed: int, goal: Goal | None = None
) -> Outcome:
    """Send the load to so many replicas, each of whose processes is a target of the balancer.

    goal: the simulation ends early once this is certainly missed.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    latencies: list[float] = []
    slow = refused = 0
    most_slow = most_refused = math.inf
    if goal is not None:  # with some room, as it is not known how many requests come
        most_slow, most_refused = (2 * share * load.expected + _FEW for share in (0.01, goal.refused))
    patience = math.inf if goal is None else goal.p99

    def ended(request: _Request, now: float, answered: bool) -> None:
        nonlocal slow, refused
        if request.at < load.counted:
            return
        if answered:
            latencies.append(now - request.at)
            slow += now - request.at > patience
        else:
            refused += 1

    processes = [Process(replica, draw, ended) for _ in range(replicas * replica.size.workers)]
    events: list[tuple[float, int]] = []
    now = 0.0
    missed = False
    choose = _chooser(processes, balance)
    for arrival in load.arrivals:
        while events and events[0][0] <= arrival.at:
            now = _step(events, processes)
        if slow > most_slow or refused > most_refused:
            missed = True
            break
        index = choose()
        processes[index].come(arrival, arrival.at)
        heapq.heappush(events, (processes[index].next, index))
    while events and not missed:
        now = _step(events, processes)
    available = max(now, 1e-9) * len(processes)
    model = sum(process.model_seconds for process in processes) / available
    cores = sum(process.core_seconds for process in processes) / (available * replica.size.threads)
    return Outcome(sorted(latencies), refused, now, model, cores, missed)


def _step(events: list[tuple[float, int]], processes: Sequence[Process]) -> float:
    """Let the next event happen, if it is still one."""
    at, index = heapq.heappop(events)
    process = processes[index]
    if process.next == at:
        process.step(at)
        if process.next != _NEVER:
            heapq.heappush(events, (process.next, index))
    return at


def _chooser(processes: Sequence[Process], balance: Balance) -> Callable[[], int]:
    """Which process gets the next request. Among those with as few open requests, the next in turn does."""
    count = len(processes)
    turn = -1

    def round_robin() -> int:
        nonlocal turn
        turn = (turn + 1) % count
        return turn

    def least_connections() -> int:
        nonlocal turn
        least = min([process.open for process in processes])
        turn = (turn + 1) % count
        while processes[turn].open > least:
            turn = (turn + 1) % count
        return turn

    return round_robin if balance == ROUND_ROBIN else least_connections
