"""The figures of each point, as kept on disk, and what is computed from all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pgb_core.compare.files import percent, write
from pgb_core.errors import DataError
from pgb_core.tasks.metrics import CONFIDENT, DIGITS, tells

DENSE = "dense"
_SEED = "-seed-"


@dataclass(frozen=True)
class Point:
    """A method, a share of the weights, a seed. The dense model has the share 1."""

    method: str
    keep: float
    seed: int = 0

    @property
    def name(self) -> str:
        """What its files are named after."""
        if self.keep == 1:
            return DENSE
        return f"{self.method}-{percent(self.keep)}" + (f"{_SEED}{self.seed}" if self.seed else "")


@dataclass(frozen=True)
class Row:
    """What came out of a point.

    kept: share of the encoder's weights. epochs: that its budget allowed. seconds: of the whole point. scores: main
    metric by form, in points of 100. layers: share kept of attention and of feed-forward, layer by layer. worth: how
    far the dense model's predictions move without each head, [layers][heads], where the method tried that. refused: why
    there is no artifact.
    """

    point: Point
    kept: float = 0.0
    epochs: float = 0.0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    layers: list[tuple[float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    worth: list[list[float]] = field(default_factory=list)
    refused: str = ""

    def save(self, folder: Path) -> None:
        """Whole or not at all."""
        write(folder / f"{self.point.name}.json", json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: Path, point: Point) -> Row | None:
        """What is kept of a point, None without. Raises DataError on a file that is no row, or one of another point."""
        path = folder / f"{point.name}.json"
        if not path.exists():
            return None
        try:
            raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
            raw["layers"] = [tuple(pair) for pair in raw["layers"]]
            found = cls(**{**raw, "point": Point(**raw["point"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: not a row of a comparison; remove it, and its point is made again") from error
        if found.point != point:
            raise DataError(
                f"{path}: is of {found.point.method} at keep {found.point.keep!r}, not of {point.method} at "
                f"{point.keep!r}; give that size, or choose another --out"
            )
        return found


@dataclass(frozen=True)
class Candidate:
    """One form of one row, or of the dense model, as a place in the picture. score: points; time: milliseconds."""

    name: str
    method: str
    keep: float
    form: str
    score: float
    time: float
    bytes: int
    dense: bool = False


def frontier(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats in both time and score (Pareto), the fastest first."""
    best: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: (c.time, -c.score)):
        if not best or one.score > best[-1].score:
            best.append(one)
    return best


def fastest(candidates: Sequence[Candidate], reference: float, drop: float) -> Candidate | None:
    """The fastest that scores at most `drop` points less than the reference; None when there is none."""
    fitting = [one for one in candidates if round(reference - one.score, DIGITS) <= drop]
    return min(fitting, key=lambda c: c.time, default=None)


def averaged(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate in place of the seeds of a method, size and form: the mean of their scores and of their times.

    It has the name of the first of them. The best of several seeds says nothing of the next one.
    """
    groups: dict[tuple[str, str, bool], list[Candidate]] = {}
    for one in candidates:
        groups.setdefault((one.name.partition(_SEED)[0], one.form, one.dense), []).append(one)
    return [
        replace(group[0], score=fmean(one.score for one in group), time=fmean(one.time for one in group))
        for group in groups.values()
    ]


def advice(candidates: Sequence[Candidate], reference: float, error: float | None, metric: str) -> list[str]:
    """What the figures say, in sentences. reference: the dense model's score; error: its standard error, in points."""
    means = averaged(candidates)
    dense = [one for one in means if one.dense]
    base = min(dense, key=lambda c: c.time, default=None)
    if base is None:
        return ["The dense model was not timed, so nothing can be said of speed."]
    said = [f"The fastest dense form is {base.form}: {base.time:.2f} ms, {metric} {base.score:.2f}."]
    within = [] if error is None else [CONFIDENT * error]
    chosen = False
    for drop, words in (
        *(
            (drop, f"{drop:.1f} points below dense at most ({CONFIDENT} standard errors of its score)")
            for drop in within
        ),
        (1.0, f"1 point below dense at most{_unsure(1.0, error)}"),
        (3.0, f"3 points below dense at most{_unsure(3.0, error)}"),
    ):
        found = fastest(means, reference, drop)
        if found is None:
            said.append(f"Nothing is {words}.")
        elif found.dense:
            said.append(f"{words[0].upper()}{words[1:]}, nothing is faster than dense {found.form}.")
        else:
            said.append(
                f"{words[0].upper()}{words[1:]}: {found.method} at {found.keep:.0%} in {found.form} (folder "
                f"{found.name}), {base.time / found.time:.2f} times as fast, {metric} {found.score:.2f}."
            )
            chosen = True
    if len(means) < len(candidates):
        said.append("Of several seeds the means are compared.")
    if chosen:
        said.append(
            "These are chosen by the rows that their scores are of: a loss just below a limit may be larger on others. "
            "Try pgb evaluate on rows that this comparison has not seen."
        )
    return said


def _unsure(drop: float, error: float | None) -> str:
    """What to add where the rows are too few for so small a drop."""
    return "" if tells(drop, error) else " (too small a loss for these rows to tell)"
