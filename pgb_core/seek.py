"""Finds the smallest model within a loss, or the largest model of a given speed, in few runs.

One half of the held-out rows chooses the size. The other half, which no choice has used, measures the result.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pgb_core.artifact import Artifact, check_replaceable, open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError, PlanError
from pgb_core.export.card import measured_anew
from pgb_core.inference.load import load
from pgb_core.measure import comparison
from pgb_core.model.predict import torch_predictor
from pgb_core.pipeline import cache_of, compress
from pgb_core.progress.report import Report
from pgb_core.run.output import check_place
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace, key_of
from pgb_core.tasks import Source
from pgb_core.tasks.metrics import Metrics, in_points, standard_error

SIZES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
FEWEST = 40  # rows of a half, below which nothing can be promised
SECONDS = 1.0  # of timing for each form and shape
SHAPES = ((1, 32), (1, 128), (8, 128))


@dataclass(frozen=True)
class Promise:
    """What was asked and found. Scores and drops in points of 100, of the worst of the forms.

    chosen, confirmed: what is lost to the dense model on the half that chose, and on the half that did not. error:
    standard error of the dense score on a half, at most that of a drop. speedup: times the fastest dense form, the
    geometric mean over shapes, of the best form; None where no speed was asked for. runs: trainings.
    """

    asked: dict[str, float]
    keep: float
    metric: str
    rows: int
    chosen: float
    confirmed: float
    error: float | None
    speedup: float | None
    runs: int

    @property
    def holds(self) -> bool:
        """Whether the loss on the rows that did not choose is within what was asked, too."""
        return self.confirmed <= self.asked.get("max_drop", math.inf)


def seek(config: CompressConfig, report: Report) -> tuple[Artifact, Promise]:
    """Find the size that `max_drop` and `min_speedup` ask for, and put its artifact at `out`. Raises PGBError.

    Every size that was tried is kept beside `out` until the artifact stands: the same command goes on from there.
    """
    check_place(config.out, config.checkpoint)
    if not config.force and Path(config.out).exists():
        check_replaceable(config.out)
        raise ConfigError(f"{config.out}: exists; --force replaces it when the new artifact is done, or choose another")
    with _tried_beside(Path(config.out)) as folder:
        seeker = _Seeker(config, folder, report)
        found = seeker.found()
        out = Path(config.out)
        check_replaceable(out)  # once more: the search may have taken hours
        if out.exists():
            os.replace(out, folder / "replaced")
        os.replace(seeker.place(found.keep), out)
    return measured_anew(out, {"promise": {**asdict(found), "holds": found.holds}}), found


def smallest(sizes: Sequence[float], fits: Callable[[float], bool]) -> float | None:
    """The last size that fits, when each smaller one fits less: by halves, from the middle. None when none does."""
    low, high, found = 0, len(sizes), None
    while low < high:
        middle = (low + high) // 2
        if fits(sizes[middle]):
            found, low = sizes[middle], middle + 1
        else:
            high = middle
    return found


def largest(sizes: Sequence[float], fits: Callable[[float], bool]) -> float | None:
    """The first size that fits, when each smaller one fits more. None when none does."""
    return smallest(sizes[::-1], fits)


class _Seeker:
    """One search; `folder` holds an artifact for each size tried."""

    def __init__(self, config: CompressConfig, folder: Path, report: Report) -> None:
        self._config = config
        self._folder = folder
        self._report = report
        self._choosing = Shared(cache_of(config), half(0), foretell=False)
        self._runs = 0
        begun = Run.begin(self._plain(0.5), report, Workspace(folder / ".none"), Shared(None, half(1)))
        self._confirming = begun
        self._folder = folder / self._asked(begun)[:16]  # what other settings or data made is not taken for this
        rows = begun.inputs.held_out
        self._rows = len(rows.rows) if rows else 0
        if self._rows < FEWEST:
            raise ConfigError(
                f"--eval: half of the rows are {self._rows}, too few to tell a loss; give {2 * FEWEST} or more"
            )

    def _asked(self, run: Run) -> str:
        """A digest of all that the sizes which are tried depend on."""
        left_out = {"out", "force", "resume", "threads", "cache", "max_drop", "min_speedup"}
        held_out = run.inputs.held_out
        read = (run.inputs.training_digest, run.inputs.calibration_digest, repr(held_out and held_out.rows))
        return key_of(run.checkpoint.key, self._config.model_dump(exclude=left_out), *read)

    def place(self, keep: float) -> Path:
        """Where the artifact of a size is made; it has the name that it will have."""
        return self._folder / f"{100 * keep:g}" / Path(self._config.out).name

    def found(self) -> Promise:
        """The search, and the confirmation."""
        config = self._config
        speeds: dict[float, float] = {}
        if config.min_speedup is not None:
            keep = largest(SIZES, lambda size: self._fast(size, config.min_speedup or 0.0, speeds))
            if keep is None:
                best = ", ".join(f"{size:.0%}: {speed:.2f}" for size, speed in speeds.items())
                raise PlanError(f"no size is {config.min_speedup:g} times as fast as the fastest dense form ({best})")
            self._report.note(f"keep {keep:.0%} is fast enough: {speeds[keep]:.2f} times the fastest dense form")
            drop = self._drop(keep)
            if config.max_drop is not None and drop > config.max_drop:
                raise PlanError(
                    f"keep {keep:.0%} is {speeds[keep]:.2f} times as fast and loses {drop:.2f} points; no size has both"
                )
        else:
            drops: dict[float, float] = {}
            keep = smallest(SIZES, lambda size: self._small(size, config.max_drop or 0.0, drops))
            if keep is None:
                best = ", ".join(f"{size:.0%}: {drop:.2f}" for size, drop in drops.items())
                raise PlanError(
                    f"no size loses at most {config.max_drop:g} points ({best}); more rows, epochs or --train may help"
                )
            drop = drops[keep]
        return self._confirmed(keep, drop, speeds.get(keep))

    def _small(self, keep: float, most: float, drops: dict[float, float]) -> bool:
        drops[keep] = self._drop(keep)
        self._report.note(f"keep {keep:.0%}: loses {drops[keep]:.2f} points where {most:g} are allowed")
        return drops[keep] <= most

    def _drop(self, keep: float) -> float:
        """Points that the worst form of a size loses on the half that chooses."""
        artifact = self._made(keep)
        accuracy = artifact.manifest.measured["accuracy"]
        main = Metrics(accuracy["dense"]).main
        every = [
            record.measured.get("accuracy", accuracy["compressed"])[main] for record in artifact.manifest.forms.values()
        ]
        if accuracy["dense"][main] is None or None in every:
            raise ConfigError(f"--eval: {main} is not defined on these rows, so no loss can be told")
        return in_points(main, accuracy["dense"][main]) - min(in_points(main, value) for value in every)

    def _made(self, keep: float) -> Artifact:
        place = self.place(keep)
        if (place / "manifest.json").exists():
            return open_artifact(place)
        self._runs += 1
        place.parent.mkdir(parents=True, exist_ok=True)
        return compress(self._plain(keep), self._report, self._choosing)

    def _fast(self, keep: float, least: float, speeds: dict[float, float]) -> bool:
        """Whether a model of this size is fast enough: planned and cut, and not trained for it."""
        place = self._folder / f"{100 * keep:g}-untrained" / "model"
        place.parent.mkdir(parents=True, exist_ok=True)
        settings = {"epochs": 0.0, "steps": None, "eval": None, "out": str(place), "force": True}
        artifact = compress(self._plain(keep).model_copy(update=settings), self._report, self._choosing)
        self._report.stage(f"Timing keep {keep:.0%} beside the dense model", len(SHAPES))
        found = comparison.compare(
            artifact, self._config.checkpoint, SHAPES, SECONDS, self._config.threads, self._report.advance
        )
        ratios = [
            max(found.speedup(form, shape) or 0.0 for form in artifact.manifest.forms if form in found.timings)
            for shape in found.shapes
        ]
        speeds[keep] = math.exp(sum(map(math.log, ratios)) / len(ratios))
        self._report.note(f"keep {keep:.0%}: {speeds[keep]:.2f} times the fastest dense form where {least:g} are asked")
        return speeds[keep] >= least

    def _confirmed(self, keep: float, drop: float, speed: float | None) -> Promise:
        """What the chosen size loses on the rows that did not choose."""
        run, artifact = self._confirming, self._made(keep)
        self._report.stage("Confirming on the rows that did not choose")
        dense = run.metrics(torch_predictor(run.dense))
        scores = []
        for form in artifact.manifest.forms:
            with load(artifact.path, form) as loaded:
                scores.append(run.metrics(loaded.runtime.run))
        values = [metrics[metrics.main] for metrics in (dense, *scores) if metrics is not None]
        if dense is None or None in values:
            raise ConfigError("--eval: the metric is not defined on half of the rows; give more")
        first, *others = (in_points(dense.main, value) for value in values if value is not None)
        error = standard_error(dense.main, first, self._rows)
        asked = {name: getattr(self._config, name) for name in ("max_drop", "min_speedup")}
        return Promise(
            asked={name: value for name, value in asked.items() if value is not None},
            keep=keep,
            metric=dense.main,
            rows=self._rows,
            chosen=round(drop, 3),
            confirmed=round(first - min(others), 3),
            error=None if error is None else round(error, 3),
            speedup=None if speed is None else round(speed, 3),
            runs=self._runs,
        )

    def _plain(self, keep: float) -> CompressConfig:
        """A compression to this size."""
        settings = {"keep": keep, "max_drop": None, "min_speedup": None, "out": str(self.place(keep))}
        return self._config.model_copy(update=settings)


def half(number: int) -> Callable[[Source], Source]:
    """Every second row, from the first or the second one; questions of one context stay together."""

    def part(rows: Source) -> Source:
        contexts = {context: n for n, context in enumerate(dict.fromkeys(map(_belongs, rows.rows)))}
        return rows.picked([n for n, row in enumerate(rows.rows) if contexts[_belongs(row)] % 2 == number])

    return part


def _belongs(row: object) -> object:
    """What rows of one half have in common: a question's context, else the row itself."""
    return getattr(row, "context", row)


@contextmanager
def _tried_beside(out: Path) -> Iterator[Path]:
    """A directory for the sizes that are tried; it goes when the artifact stands, and stays when something failed."""
    folder = out.parent / f".{out.name}.sizes"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
