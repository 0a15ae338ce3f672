"""What several runs of one process share: the cache on disk, the model, the rows, and the dense model's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pgb_core.learn.teacher import Teacher
from pgb_core.run.cache import Cache
from pgb_core.tasks import Source

Made = TypeVar("Made")
MOST_KEPT = 8  # of what is read and measured once


def _all(rows: Source) -> Source:
    return rows


@dataclass
class Shared:
    """What the runs of one process share. cache: None where nothing is to outlive a run. judging: which of the held-out
    rows judge.

    foretell: whether a run tells what it is expected to score, before it trains. promises: whether the rows that judge
    choose a size and promise its loss, so that labels there must not contradict the checkpoint.
    """

    cache: Cache | None = None
    judging: Callable[[Source], Source] = _all
    foretell: bool = True
    promises: bool = False
    _teachers: dict[str, Teacher] = field(default_factory=dict)
    _known: dict[str, Any] = field(default_factory=dict)

    def judged(self, judging: Callable[[Source], Source]) -> Shared:
        """The same things, for runs that another part of the held-out rows judges."""
        return replace(self, judging=judging)

    def once(self, key: str, make: Callable[[], Made]) -> Made:
        """What was made under this key, or is made now. Of too many, what was used longest ago is made again."""
        found: Made = self._known.pop(key) if key in self._known else make()
        while len(self._known) >= MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = found
        return found

    def asked_teacher(self, key: str) -> Teacher | None:
        """The one of this key, if a run has asked for it."""
        return self._teachers.get(key)

    def teacher(self, key: str, make: Callable[[], Teacher]) -> Teacher:
        """The one of this key. Only the last one is held, as each may hold gigabytes."""
        if key not in self._teachers:
            self._teachers.clear()
            self._teachers[key] = make()
        return self._teachers[key]
