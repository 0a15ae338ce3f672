"""Which requests come when: what an arrival is, and arrivals that are drawn at random."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import Protocol

from pgb_core.errors import ConfigError

Lengths = tuple[int, ...]
SAMPLE = 2_000  # requests
_WARM = 0.1  # of a drawn load, that is not counted: it begins with no queue
_BURSTS = 3  # that a drawn load has at least
_MOST_TIMES = 20  # as many requests as were asked for, where bursts need more
_ROUNDED = 1e-9  # of a period
_MOST_FACTOR = 1_000  # of a burst


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request. at: seconds. lengths: tokens of each input. client: who asks."""

    at: float
    lengths: Lengths
    client: str | int = ""


@dataclass(frozen=True)
class Load:
    """Arrivals in order. counted: the instant from which requests are counted. expected: about how many are counted.
    seconds: in which they come, and after which others like them would; infinite where no others come."""

    arrivals: Iterator[Arrival]
    counted: float
    expected: float
    seconds: float = math.inf


class Traffic(Protocol):
    """All requests to all replicas."""

    @property
    def rate(self) -> float:
        """Requests a second, on average."""

    def lengths(self) -> Sequence[Lengths]:
        """A sample of the requests."""

    def means(self) -> tuple[float, float]:
        """Inputs and tokens of a request, on average."""

    def load(self, share: float, requests: int, seed: int) -> Load:
        """A share of the traffic, about `requests` of it where it has no end of its own."""


@dataclass(frozen=True)
class Mix:
    """What requests look like. kinds: lengths of inputs with their weights; a kind has several inputs where they belong
    together. inputs: how many kinds a request has, with weights. clients: how many there are."""

    kinds: Mapping[Lengths, float]
    inputs: Mapping[int, float]
    clients: int

    def means(self) -> tuple[float, float]:
        """Inputs and tokens of a request, as its weights have it."""
        groups = _mean((count, weight) for count, weight in self.inputs.items())
        inputs = _mean((len(kind), weight) for kind, weight in self.kinds.items())
        tokens = _mean((sum(kind), weight) for kind, weight in self.kinds.items())
        return groups * inputs, groups * tokens

    def drawn(self, draw: random.Random) -> Iterator[tuple[Lengths, int]]:
        """Lengths and client of one request after the other."""
        kinds, counts = list(self.kinds), list(self.inputs)
        of_kinds, of_counts = list(accumulate(self.kinds.values())), list(accumulate(self.inputs.values()))
        while True:
            (count,) = draw.choices(counts, cum_weights=of_counts)
            groups = draw.choices(kinds, cum_weights=of_kinds, k=count)
            yield groups[0] if count == 1 else tuple(chain.from_iterable(groups)), int(draw.random() * self.clients)


def _mean(weighted: Iterable[tuple[int, float]]) -> float:
    """Of values with their weights."""
    found = list(weighted)
    return sum(value * weight for value, weight in found) / sum(weight for _, weight in found)


@dataclass(frozen=True)
class Burst:
    """At the end of each `every` seconds, for `seconds`, the rate is `factor` times the usual one."""

    factor: float
    seconds: float
    every: float

    @classmethod
    def read(cls, text: str) -> Burst:
        """FACTOR:SECONDS:EVERY. Raises ConfigError."""
        try:
            found = cls(*(float(part) for part in text.split(":")))
        except (TypeError, ValueError):
            found = cls(0, 0, 0)
        if not (1 < found.factor <= _MOST_FACTOR and 0 < found.seconds < found.every < math.inf and found.every >= 1):
            raise ConfigError(
                f"--burst {text}: write FACTOR:SECONDS:EVERY, FACTOR above 1 and at most {_MOST_FACTOR:,}, SECONDS "
                "below EVERY, and EVERY from 1, such as 4:2:30"
            )
        return found


@dataclass(frozen=True)
class Drawn:
    """Requests at random instants (a Poisson process) of `usual` a second, and more in bursts."""

    mix: Mix
    usual: float
    burst: Burst | None = None

    @property
    def rate(self) -> float:
        """Requests a second, on average."""
        more = 0.0 if self.burst is None else (self.burst.factor - 1) * self.burst.seconds / self.burst.every
        return self.usual * (1 + more)

    def lengths(self) -> Sequence[Lengths]:
        """A sample of the requests."""
        return [lengths for lengths, _ in islice(self.mix.drawn(random.Random(0)), SAMPLE)]  # noqa: S311 - no secret

    def means(self) -> tuple[float, float]:
        """See Mix."""
        return self.mix.means()

    def load(self, share: float, requests: int, seed: int) -> Load:
        """As many seconds as `requests` take to come, and whole periods of bursts, at least three: of a part of one
        the rate would be too low. Raises ConfigError when these are more than twenty times as many requests."""
        seconds = requests / (self.rate * share)
        if self.burst is not None:
            least = _BURSTS * self.burst.every
            if least > _MOST_TIMES * seconds:
                raise ConfigError(
                    f"--burst: {_BURSTS} periods have {least * self.rate * share:,.0f} requests to simulate; give "
                    f"--requests {math.ceil(least * self.rate * share / _MOST_TIMES)} or more, or a shorter period"
                )
            seconds = max(least, math.ceil(seconds / self.burst.every - _ROUNDED) * self.burst.every)
        arrivals = self._until(seconds, share, random.Random(seed))  # noqa: S311 - no secret
        return Load(arrivals, _WARM * seconds, (1 - _WARM) * seconds * self.rate * share, seconds)

    def _until(self, seconds: float, share: float, draw: random.Random) -> Iterator[Arrival]:
        at, requests = 0.0, self.mix.drawn(draw)
        while True:
            left = draw.expovariate(1.0)
            while True:
                rate, end = self._rate(at)
                taken = left / (rate * share)
                if at + taken <= end:
                    break
                left -= (end - at) * rate * share
                at = end
            at += taken
            if at >= seconds:
                return
            yield Arrival(at, *next(requests))

    def _rate(self, at: float) -> tuple[float, float]:
        """The rate at an instant, and the instant until which it stays so."""
        if self.burst is None:
            return self.usual, math.inf
        turn = math.floor(at / self.burst.every)
        rises, ends = (turn + 1) * self.burst.every - self.burst.seconds, (turn + 1) * self.burst.every
        if at < rises:
            return self.usual, rises
        return self.usual * self.burst.factor, max(ends, math.nextafter(at, math.inf))
