"""Progress of a job: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pgb_core.progress.remaining import Estimate, about
from pgb_core.progress.report import Report

PACE = 12.0  # seconds between two lines of one stage


class Bars(Report):
    """On standard error: on a terminal a bar for the whole job and one a stage, elsewhere lines.

    A line stands where a stage begins and where it ends, and one in about `PACE` seconds between them.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._estimate = Estimate(clock)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._whole: TaskID | None = None
        self._plain = not console.is_terminal
        self._said = 0.0

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._finish()
            if self._whole is not None:
                self._bars.update(self._whole, completed=1.0, count="100%", note="")
        self._bars.stop()

    def begin(self, stages: Mapping[str, float]) -> None:
        """The stages to come, with the work that each is expected to be."""
        self._estimate.begin(stages)
        if self._whole is not None:
            self._bars.remove_task(self._whole)
        self._whole = self._bars.add_task("The whole job", total=1.0, count="0%", note="")

    def stage(self, title: str, total: int | None = None) -> None:
        """Finish the stage before and start another."""
        self._finish()
        self._estimate.stage(title, total)
        self._task = self._bars.add_task(title, total=total, count="", note="")
        self._said = self._clock()
        if self._plain:
            left = self._whole_left()
            self._say(f"{title} ({left})" if left else title)
        self._draw("")

    def end(self) -> None:
        """Finish the current stage."""
        self._finish()

    def advance(self, done: int = 1, note: str = "") -> None:
        """Move the current bar."""
        if self._task is None:
            return
        self._estimate.advance(done)
        if self._plain and self._clock() - self._said >= PACE:
            self._said = self._clock()
            self._say(", ".join(part for part in (self._stage_so_far(), self._whole_left(), note) if part))
        self._draw(note)

    def _draw(self, note: str) -> None:
        if self._plain or self._task is None:
            return
        left = self._estimate.left
        shown = ", ".join(part for part in (f"{about(left)} left" if left else "", note) if part)
        task = self._bars.tasks[self._bars.task_ids.index(self._task)]
        done = task.total * self._estimate.share if task.total and self._estimate.share is not None else None
        self._bars.update(self._task, completed=done, count=self._estimate.count, note=shown)
        share, whole = self._estimate.whole_share, self._estimate.whole_left
        if self._whole is not None and share is not None:
            note = f"{about(whole)} left" if whole is not None else ""
            self._bars.update(self._whole, completed=share, count=f"{100 * share:.0f}%", note=note)

    def _stage_so_far(self) -> str:
        share, left = self._estimate.share, self._estimate.left
        count = f"{self._estimate.count} done" if share is None else f"{self._estimate.count}, {100 * share:.0f}%"
        return f"  {count}" + (f", {about(left)} left of this stage" if left is not None else "")

    def _whole_left(self) -> str:
        share, left = self._estimate.whole_share, self._estimate.whole_left
        if share is None or share == 1:  # a stage that nobody announced still runs
            return ""
        return f"{100 * share:.0f}% of the whole job done" + (f", {about(left)} left" if left is not None else "")

    def _say(self, line: str) -> None:
        """Wrapped between words where a terminal shows it; elsewhere in one line."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=self._plain)

    def note(self, text: str) -> None:
        """A line of its own."""
        self._say(f"  {text}")

    def warn(self, text: str) -> None:
        """A line of its own that says what it is."""
        self.note(f"warning: {text}")

    def _finish(self) -> None:
        ended = self._estimate.finish()
        if self._task is None or ended is None:
            return
        task = self._bars.tasks[self._bars.task_ids.index(self._task)]
        self._bars.update(self._task, total=task.total or 1, completed=task.total or 1, note="")
        title, seconds = ended
        if self._plain:
            self._say(f"{title}: done in {seconds:.1f} s" if seconds < 60 else f"{title}: done in {_minutes(seconds)}")
        self._task = None


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
