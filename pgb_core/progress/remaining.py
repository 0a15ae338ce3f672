"""Estimates how long the rest of a job takes, from what it has done so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass
class _Stage:
    """weight: expected work; first and since: units and time of the first report of progress."""

    title: str
    total: int | None
    weight: float
    began: float
    done: int = 0
    first: int = 0
    since: float | None = None

    @property
    def share(self) -> float:
        """Done, of all."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def measured(self) -> float:
        """Done while time was taken, of all; what an earlier run did is reported first and takes none."""
        return min(1.0, (self.done - self.first) / self.total) if self.total else 0.0


class Estimate:
    """Time left in a stage and in the job, from a clock and from reports of progress.

    A stage that has a total goes on as it went; stages to come take as long as their expected work
    does at the pace of the work done.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._to_come: dict[str, float] = {}
        self._stage: _Stage | None = None
        self._behind = 0.0
        self._work = 0.0
        self._seconds = 0.0

    def begin(self, stages: Mapping[str, float]) -> None:
        """A job of these stages, in this order, each with its expected work in any unit."""
        self._to_come = dict(stages)
        self._behind = self._work = self._seconds = 0.0

    def stage(self, title: str, total: int | None) -> None:
        """A stage begins. Those that should have come before it are not done in this run."""
        self.finish()
        while title in self._to_come and title != next(iter(self._to_come)):
            del self._to_come[next(iter(self._to_come))]
        self._stage = _Stage(title, total, self._to_come.pop(title, 0.0), self._clock())

    def advance(self, done: int) -> None:
        """So much more is done."""
        stage = self._stage
        if stage is not None:
            stage.done += done
            if stage.since is None:
                stage.first, stage.since = stage.done, self._clock()

    def finish(self) -> tuple[str, float] | None:
        """The stage has ended: its title, and the seconds that it took."""
        stage, self._stage = self._stage, None
        if stage is None:
            return None
        now = self._clock()
        if stage.weight:
            self._behind += stage.weight
            if stage.measured and stage.since is not None:
                self._work += stage.weight * stage.measured
                self._seconds += now - stage.since
            else:
                self._work += stage.weight
                self._seconds += now - stage.began
        return stage.title, now - stage.began

    @property
    def share(self) -> float | None:
        """The part of the stage that is done, 0 to 1; None where its total is not known."""
        return self._stage.share if self._stage and self._stage.total else None

    @property
    def count(self) -> str:
        """Units done, of the total where it is known."""
        if self._stage is None:
            return ""
        return f"{self._stage.done:,} of {self._stage.total:,}" if self._stage.total else f"{self._stage.done:,}"

    @property
    def left(self) -> float | None:
        """Seconds left in the stage, once that can be told."""
        stage = self._stage
        if stage is None:
            return 0.0
        if stage.measured and stage.since is not None:
            return (1 - stage.share) / stage.measured * (self._clock() - stage.since)
        pace = self._pace
        return max(0.0, stage.weight * pace - (self._clock() - stage.began)) if pace and stage.weight else None

    @property
    def whole_share(self) -> float | None:
        """The part of the job that is done, 0 to 1; None where its stages are not known."""
        now = self._stage.weight if self._stage else 0.0
        every = self._behind + now + sum(self._to_come.values())
        return (self._behind + now * (self._stage.share if self._stage else 0.0)) / every if every else None

    @property
    def whole_left(self) -> float | None:
        """Seconds left in the job, once that can be told."""
        pace, stage = self._pace, self.left
        return stage + pace * sum(self._to_come.values()) if pace is not None and stage is not None else None

    @property
    def _pace(self) -> float | None:
        """Seconds a unit of expected work."""
        work, seconds, stage = self._work, self._seconds, self._stage
        if stage is not None and stage.since is not None:
            work += stage.weight * stage.measured
            seconds += (self._clock() - stage.since) if stage.measured else 0.0
        return seconds / work if work else None


def about(seconds: float) -> str:
    """In words, no finer than an estimate is."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {10 * round(seconds / 10)} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60} min"
