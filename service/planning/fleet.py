"""Simulates all replicas behind a balancer, and sums up what their requests saw."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from service.planning.arrivals import Load
from service.planning.process import NEVER, Process, Replica, Request

Balance = Literal["round-robin", "least-connections"]
ROUND_ROBIN: Balance = "round-robin"
LEAST_CONNECTIONS: Balance = "least-connections"
BALANCES: tuple[Balance, ...] = (ROUND_ROBIN, LEAST_CONNECTIONS)
_FEW = 20  # requests
_OVER = 1.02  # load that is still taken for 1: requests are drawn, and their work differs by so much


@dataclass(frozen=True)
class Goal:
    """What must hold: the 99th percentile of seconds, and the share of requests that are refused."""

    p99: float
    refused: float


@dataclass(frozen=True)
class Outcome:
    """What a simulation showed. latencies: seconds of the answered requests, ascending. refused: how many were refused,
    or given up after `request_seconds`. model, cores: shares of the time that models ran, and that cores were in use.
    missed: whether it was ended early because its goal was missed already. load: time that models, or event loops, take
    for all that comes, as a share of the time in which it comes; 0 where no more would come."""

    latencies: Sequence[float]
    refused: int
    seconds: float
    model: float
    cores: float
    missed: bool = False
    load: float = 0.0

    @property
    def requests(self) -> int:
        """All that are counted."""
        return len(self.latencies) + self.refused

    @property
    def refused_share(self) -> float:
        """Refused requests as a share of all."""
        return self.refused / max(1, self.requests)

    def keeps_up(self, refused: float = 0.0) -> bool:
        """Whether no more comes than can be done, but for a share that is refused. Of more, what waits grows for as
        long as requests come, and only the end of the simulation bounds the latencies."""
        return self.load * (1 - refused) <= _OVER

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the answers came; infinite where there is no answer."""
        if not self.latencies:
            return math.inf
        return self.latencies[min(len(self.latencies) - 1, math.ceil(share * len(self.latencies)) - 1)]

    def holds(self, goal: Goal) -> bool:
        """Whether the goal is met; without any request it is."""
        if not self.requests:
            return not self.missed
        if self.missed or not self.keeps_up(goal.refused):
            return False
        return self.refused_share <= goal.refused and self.percentile(0.99) <= goal.p99


def simulate(
    replica: Replica, replicas: int, balance: Balance, load: Load, seed: int, goal: Goal | None = None
) -> Outcome:
    """Send the load to so many replicas, each of whose processes is a target of the balancer.

    goal: the simulation ends early once this is certainly missed.
    """
    draw = random.Random(seed)  # noqa: S311 - no secret
    count = _Count(load, goal)
    processes = [Process(replica, draw, count.ended) for _ in range(replicas * replica.size.workers)]
    events: list[tuple[float, int]] = []
    now = 0.0
    missed = False
    choose = _chooser(processes, balance)
    for arrival in load.arrivals:
        while events and events[0][0] <= arrival.at:
            now = _step(events, processes)
        if count.too_many:
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
    comes = _comes(processes, load.seconds) * count.every / max(1, count.answered)  # who was refused took nothing
    return Outcome(sorted(count.latencies), count.refused, now, model, cores, missed, comes)


def _comes(processes: Sequence[Process], seconds: float) -> float:
    """See `load` of Outcome, of what was admitted in so many seconds: of the models or of the event loops, whichever
    take longer."""
    models = sum(process.model_seconds for process in processes)
    loops = sum(process.loop_seconds for process in processes)
    return max(models, loops) / (seconds * len(processes))


class _Count:
    """The requests of a load that have ended, of those that count."""

    def __init__(self, load: Load, goal: Goal | None) -> None:
        self.latencies: list[float] = []
        self.refused = 0
        self.every = self.answered = 0  # also of those that do not count
        self._first = load.counted
        self._slow = 0
        self._patience = math.inf if goal is None else goal.p99
        self._most_slow = self._most_refused = math.inf
        if goal is not None:  # with some room, as it is not known how many requests come
            self._most_slow, self._most_refused = (2 * share * load.expected + _FEW for share in (0.01, goal.refused))

    def ended(self, request: Request, now: float, answered: bool) -> None:
        """Count a request that was answered, or refused."""
        self.every += 1
        self.answered += answered
        if request.at < self._first:
            return
        if answered:
            self.latencies.append(now - request.at)
            self._slow += now - request.at > self._patience
        else:
            self.refused += 1

    @property
    def too_many(self) -> bool:
        """Whether so many were slow or refused that the goal is certainly missed."""
        return self._slow > self._most_slow or self.refused > self._most_refused


def _step(events: list[tuple[float, int]], processes: Sequence[Process]) -> float:
    """Let the next event happen, if it is still one."""
    at, index = heapq.heappop(events)
    process = processes[index]
    if process.next == at:
        process.step(at)
        if process.next != NEVER:
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
