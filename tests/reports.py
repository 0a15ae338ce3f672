"""A report that remembers what it was told."""

from __future__ import annotations

from pgb_core.progress.report import Report


class Heard(Report):
    """stages: titles. said: notes and warnings, in order; everything: titles too."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.said: list[str] = []
        self.everything: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None:
        """See Report."""
        self.stages.append(title)
        self.everything.append(title)

    def note(self, text: str) -> None:
        """See Report."""
        self.notes.append(text)
        self.said.append(text)
        self.everything.append(text)

    def warn(self, text: str) -> None:
        """See Report."""
        self.warnings.append(text)
        self.said.append(text)
        self.everything.append(text)
