"""What the stages of one run measured of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pgb_core.run.workspace import Workspace

Made = TypeVar("Made")


class Records:
    """What the stages of one run measured. It is kept beside them, so that a run that goes on knows it too."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._within = 0.0  # seconds of stages that were done within the one that is being done

    def add(self, key: str, **figures: float) -> None:
        """Figures of the stage with this digest, besides those that are known."""
        self._workspace.save_record(key, {**self.of(key), **figures})

    def of(self, key: str) -> dict[str, float]:
        """Figures of the stage with this digest: `seconds`, and what else it measured; empty where not known."""
        return self._workspace.record(key)

    def timed(self, key: str, make: Callable[[], Made]) -> Made:
        """What a stage makes. Its seconds are recorded, without those of stages that are done within it."""
        before, self._within = self._within, 0.0
        began = time.perf_counter()
        made = make()
        took = time.perf_counter() - began
        self.add(key, seconds=round(took - self._within, 2))
        self._within = before + took
        return made
