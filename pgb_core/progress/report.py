"""The interface through which a job reports its progress and what it has read."""

from __future__ import annotations

from collections.abc import Mapping


class Report:
    """Who is told how far the work is. By itself it tells nobody."""

    def begin(self, stages: Mapping[str, float]) -> None:
        """The stages to come, in their order, with the work that each is expected to be, in any unit."""

    def stage(self, title: str, total: int | None = None) -> None:
        """A new stage begins; `total` units of work, if that is known."""

    def end(self) -> None:
        """The stage has ended, and what follows is said of its outcome."""

    def advance(self, done: int = 1, note: str = "") -> None:
        """So much more is done."""

    def note(self, text: str) -> None:
        """A fact that was read, such as what a column holds."""

    def warn(self, text: str) -> None:
        """What may be wrong, though the work goes on."""
