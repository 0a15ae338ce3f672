"""The fewest replicas that hold a goal, by trying."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.planning.arrivals import Arrival, Load, Traffic
from service.planning.fleet import Balance, Goal, Outcome, simulate
from service.planning.process import Replica

MOST_PROCESSES = 16  # that are simulated at one time: of more, these and their share of the traffic stand for all
_STEP = 1.25  # from a number of replicas that does not hold to the next one that is tried
_NEAR = 100  # of more replicas than this, one in a hundred more or less is not told apart
_ALONE = 1_000  # requests, each of which finds everything idle
MOST_REPLICAS = 10_000_000


@dataclass(frozen=True)
class Conditions:
    """What all forecasts share. requests: how many are drawn for each, where the traffic has no end of its own."""

    traffic: Traffic
    balance: Balance
    requests: int
    seed: int


@dataclass(frozen=True)
class Forecast:
    """So many replicas, and what they do. simulated: how many of them stood for all."""

    replica: Replica
    replicas: int
    simulated: int
    outcome: Outcome

    @property
    def cores(self) -> int:
        """The cores of all replicas."""
        return self.replicas * self.replica.size.cores


def forecast(replica: Replica, replicas: int, given: Conditions, goal: Goal | None = None) -> Forecast:
    """What so many replicas do. goal: end early once it is missed."""
    simulated = min(replicas, math.ceil(MOST_PROCESSES / replica.size.workers))
    load = given.traffic.load(simulated / replicas, given.requests, given.seed)
    return Forecast(replica, replicas, simulated, simulate(replica, simulated, given.balance, load, given.seed, goal))


def fewest(replica: Replica, given: Conditions, goal: Goal) -> Forecast | None:
    """The fewest replicas that hold the goal; None when even a request that finds everything idle takes too long, or
    when too many are needed."""
    if not alone(replica, given).holds(goal):
        return None
    low = 0  # does not hold
    high = _least(replica, given)
    while not (found := forecast(replica, high, given, goal)).outcome.holds(goal):
        low, high = high, max(high + 1, math.ceil(high * _STEP))
        if high > MOST_REPLICAS:
            return None
    while high - low > max(1, high // _NEAR):
        middle = (low + high) // 2
        tried = forecast(replica, middle, given, goal)
        if tried.outcome.holds(goal):
            high, found = middle, tried
        else:
            low = middle
    return found


def alone(replica: Replica, given: Conditions) -> Outcome:
    """What a request takes that finds everything idle."""
    every = given.traffic.lengths()
    sample = every[:: math.ceil(len(every) / _ALONE)]  # of all of a trace, and not only of its beginning
    apart = replica.request_seconds + 1
    arrivals = (Arrival(n * apart, lengths) for n, lengths in enumerate(sample))
    return simulate(replica, 1, given.balance, Load(arrivals, -math.inf, len(sample)), given.seed)


def _least(replica: Replica, given: Conditions) -> int:
    """A number of replicas that the work of the models alone would nearly fill."""
    sample = given.traffic.lengths()
    times, limits = replica.size.times, replica.limits
    each = {length: times.least(length, limits.batch_tokens) for request in sample for length in request}
    seconds = sum(each[length] for request in sample for length in request) / len(sample)
    return max(1, math.ceil(0.8 * given.traffic.rate * seconds / replica.size.workers))
