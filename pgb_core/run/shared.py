"""What several runs share: the cache on disk, and the dense model's outputs on the training rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pgb_core.learn.teacher import Teacher
from pgb_core.run.cache import Cache
from pgb_core.tasks import Source


def _all(rows: Source) -> Source:
    return rows


@dataclass
class Shared:
    """Of one process. cache: None where nothing is to outlive a run. judging: which of the held-out rows judge."""

    cache: Cache | None = None
    judging: Callable[[Source], Source] = _all
    _teachers: dict[str, Teacher] = field(default_factory=dict)

    def teacher(self, key: str, make: Callable[[], Teacher]) -> Teacher:
        """The one of this key. Only the last one is held, as each may hold gigabytes."""
        if key not in self._teachers:
            self._teachers.clear()
            self._teachers[key] = make()
        return self._teachers[key]
