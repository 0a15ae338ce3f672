"""Progress of one part of a larger job."""

from __future__ import annotations

from pgb_core.progress.report import Report


class PartReport(Report):
    """Passes on what a part says, under its name. The larger job has told all stages, so the part tells none."""

    def __init__(self, outer: Report, name: str) -> None:
        self._outer = outer
        self._name = name

    @staticmethod
    def titled(name: str, title: str) -> str:
        """A stage's title as the larger job knows it."""
        return f"{name}: {title[0].lower()}{title[1:]}"

    def stage(self, title: str, total: int | None = None) -> None:
        """Named by the part."""
        self._outer.stage(self.titled(self._name, title), total)

    def end(self) -> None:
        """As it is."""
        self._outer.end()

    def advance(self, done: int = 1, note: str = "") -> None:
        """As it is."""
        self._outer.advance(done, note)

    def note(self, text: str) -> None:
        """Named by the part, once."""
        self._outer.note(text if text.startswith(f"{self._name} ") else f"{self._name}: {text}")

    def warn(self, text: str) -> None:
        """Named by the part."""
        self._outer.warn(f"{self._name}: {text}")
