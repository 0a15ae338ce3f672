"""Finds the smallest model within a loss, or the largest model of a given speed, in few runs.

One half of the held-out rows chooses the size. The other half, which no choice has used, measures the result.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pgb_core.artifact import MANIFEST, Artifact, Manifest, check_replaceable, open_artifact, swap
from pgb_core.config import CompressConfig
from pgb_core.errors import OF_ONE_SIZE, ConfigError, PlanError
from pgb_core.export.card import measured_anew
from pgb_core.inference.load import load
from pgb_core.measure import comparison
from pgb_core.model.predict import torch_predictor
from pgb_core.pipeline import cache_of, compress
from pgb_core.progress.report import Report
from pgb_core.run.output import check_place
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace, locked
from pgb_core.tasks.metrics import Metrics, standard_error
from pgb_core.tasks.parts import half

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
    out = Path(config.out)
    with locked(out, report.warn), _tried_beside(out) as folder:
        seeker = _Seeker(config, folder, report)
        found = seeker.found()
        check_replaceable(out)  # once more: the search may have taken hours
        swap(seeker.place(found.keep), out)
    return measured_anew(out, {"promise": {**asdict(found), "holds": found.holds}}), found


def smallest(sizes: Sequence[float], fits: Callable[[float], bool | None]) -> float | None:
    """The last size that fits, when each smaller one fits less: by halves, from the middle. None when none does.

    sizes: the largest first. fits: None where neither that size nor a smaller one can be made.
    """
    low, high, found = 0, len(sizes), None
    while low < high:
        middle = (low + high) // 2
        if fits(sizes[middle]):
            found, low = sizes[middle], middle + 1
        else:
            high = middle
    return found


def largest(sizes: Sequence[float], fits: Callable[[float], bool | None]) -> float | None:
    """The first size that fits, when each smaller one that can be made fits more; see `smallest`."""
    low, high, found = 0, len(sizes), None
    while low < high:
        middle = (low + high - 1) // 2
        answer = fits(sizes[middle])
        if answer is False:
            low = middle + 1
        else:
            found, high = (sizes[middle] if answer else found), middle
    return found


class _Seeker:
    """One search; `folder` holds an artifact for each size tried."""

    def __init__(self, config: CompressConfig, folder: Path, report: Report) -> None:
        self._config = config
        self._folder = folder
        self._report = report
        self._choosing = Shared(cache_of(config), partial(half, number=0), foretell=False)
        begun = Run.begin(self._plain(0.5), report, Workspace(folder / ".none"), Shared(None, partial(half, number=1)))
        self._confirming = begun
        self._folder = folder / self._asked(begun)[:16]  # what other settings or data made is not taken for this
        if config.resume is False:
            shutil.rmtree(self._folder, ignore_errors=True)
        rows = begun.inputs.held_out
        self._rows = len(rows.rows) if rows else 0
        if self._rows < FEWEST:
            raise ConfigError(
                f"--eval: half of the rows are {self._rows}, too few to tell a loss; give {2 * FEWEST} or more"
            )

    def _asked(self, run: Run) -> str:
        """A digest of all that the sizes which are tried depend on."""
        left_out = {"out", "force", "resume", "threads", "cache", "forms", "max_drop", "min_speedup"}
        read = (run.inputs.training_digest, run.inputs.calibration_digest, run.inputs.held_out_digest)
        labels = tuple(run.checkpoint.subject.labels)
        return run.first("sought", self._config.model_dump(exclude=left_out), labels, *read).digest

    def place(self, keep: float) -> Path:
        """Where the artifact of a size is made; it has the name that it will have."""
        return self._folder / f"{100 * keep:g}" / Path(self._config.out).name

    def found(self) -> Promise:
        """The search, and the confirmation."""
        config = self._config
        speeds: dict[float, float] = {}
        tried: dict[float, str] = {}
        if config.min_speedup is not None:
            keep = largest(SIZES, lambda size: self._fast(size, config.min_speedup or 0.0, speeds, tried))
            if keep is None:
                raise PlanError(
                    f"no size is {config.min_speedup:g} times as fast as the fastest dense form ({_told(tried)})"
                )
            self._report.note(f"keep {keep:.0%} is fast enough: {speeds[keep]:.2f} times the fastest dense form")
            drop = self._drop(keep)
            if config.max_drop is not None and drop > config.max_drop:
                raise PlanError(
                    f"keep {keep:.0%} is {speeds[keep]:.2f} times as fast and loses {drop:.2f} points; no size has both"
                )
        else:
            keep = smallest(SIZES, lambda size: self._small(size, config.max_drop or 0.0, tried))
            if keep is None:
                raise PlanError(
                    f"no size loses at most {config.max_drop:g} points ({_told(tried)}); more rows, epochs or --train "
                    "may help"
                )
            drop = self._drop(keep)
        return self._confirmed(keep, drop, speeds.get(keep))

    def _small(self, keep: float, most: float, tried: dict[float, str]) -> bool | None:
        """Whether a model of this size loses little enough. tried: gets what it loses, or that it cannot be made."""
        try:
            drop = self._drop(keep)
        except OF_ONE_SIZE as error:
            self._refused(keep, error, tried)
            return None
        tried[keep] = f"{drop:.2f}"
        self._report.note(f"keep {keep:.0%}: loses {drop:.2f} points where {most:g} are allowed")
        return drop <= most

    def _refused(self, keep: float, error: Exception, tried: dict[float, str]) -> None:
        """No model of this size: larger ones are tried."""
        tried[keep] = "cannot be made"
        self._report.warn(f"keep {keep:.0%}: {error}")

    def _drop(self, keep: float) -> float:
        """Points that the worst form of a size loses on the half that chooses."""
        manifest = self._made(keep).manifest
        accuracy = manifest.measured["accuracy"]
        dense = Metrics(accuracy["dense"])
        found = [manifest.forms[form].measured.get("accuracy", accuracy["compressed"]) for form in _run_here(manifest)]
        return _lost(dense, [Metrics(metrics) for metrics in found])

    def _made(self, keep: float) -> Artifact:
        return self._at(self.place(keep), self._plain(keep))

    def _at(self, place: Path, config: CompressConfig) -> Artifact:
        """What stands there in these forms, or what these settings make. Other forms need no other training."""
        if (place / MANIFEST).exists():
            found = open_artifact(place)
            if found.manifest.provenance["settings"]["forms"] == list(config.forms):
                return found
        place.parent.mkdir(parents=True, exist_ok=True)
        settings = {"out": str(place), "force": True}
        return compress(config.model_copy(update=settings), self._report, self._choosing)

    def _fast(self, keep: float, least: float, speeds: dict[float, float], tried: dict[float, str]) -> bool | None:
        """Whether a model of this size is fast enough: planned and cut, and not trained for it."""
        untrained = self._plain(keep).model_copy(update={"epochs": 0.0, "steps": None, "eval": None})
        try:
            artifact = self._at(self._folder / f"{100 * keep:g}-untrained" / "model", untrained)
        except OF_ONE_SIZE as error:
            self._refused(keep, error, tried)
            return None
        self._report.stage(f"Timing keep {keep:.0%} beside the dense model", len(SHAPES))
        found = comparison.compare(
            artifact, self._config.checkpoint, SHAPES, SECONDS, self._config.threads, self._report.advance
        )
        forms = [form for form in artifact.manifest.forms if form in found.timings]
        ratios = [max(found.speedup(form, shape) or 0.0 for form in forms) for shape in found.shapes if forms]
        if not ratios or not all(ratios):
            raise ConfigError("--min-speedup: no dense form, or none of --forms, can be timed on this machine")
        speeds[keep] = math.exp(sum(map(math.log, ratios)) / len(ratios))
        tried[keep] = f"{speeds[keep]:.2f}"
        self._report.note(f"keep {keep:.0%}: {speeds[keep]:.2f} times the fastest dense form where {least:g} are asked")
        return speeds[keep] >= least

    def _confirmed(self, keep: float, drop: float, speed: float | None) -> Promise:
        """What the chosen size loses on the rows that did not choose."""
        run, artifact = self._confirming, self._made(keep)
        self._report.stage("Confirming on the rows that did not choose")
        dense = run.judge.of(torch_predictor(run.dense))
        scores = []
        for form in artifact.manifest.forms:
            if form not in _run_here(artifact.manifest):
                self._report.warn(f"form {form}: its engine is not available here, so nothing is promised of it")
                continue
            with load(artifact.path, form) as loaded:
                scores.append(run.judge.of(loaded.runtime.run))
        score = dense.points() if dense else None
        if dense is None or score is None:
            raise ConfigError("--eval: the metric is not defined on half of the rows; give more")
        confirmed = _lost(dense, [metrics for metrics in scores if metrics is not None])
        error = standard_error(dense.main, score, self._rows)
        asked = {name: getattr(self._config, name) for name in ("max_drop", "min_speedup")}
        return Promise(
            asked={name: value for name, value in asked.items() if value is not None},
            keep=keep,
            metric=dense.main,
            rows=self._rows,
            chosen=round(drop, 3),
            confirmed=round(confirmed, 3),
            error=None if error is None else round(error, 3),
            speedup=None if speed is None else round(speed, 3),
            runs=sum((self.place(size) / MANIFEST).exists() for size in SIZES),
        )

    def _plain(self, keep: float) -> CompressConfig:
        """A compression to this size, which goes on where one was stopped."""
        settings = {"keep": keep, "max_drop": None, "min_speedup": None, "resume": None, "out": str(self.place(keep))}
        return self._config.model_copy(update=settings)


def _run_here(manifest: Manifest) -> list[str]:
    """The forms that were run when the artifact was written; others lack their engine or device."""
    return [name for name, record in manifest.forms.items() if record.ran]


def _lost(dense: Metrics, forms: Sequence[Metrics]) -> float:
    """Points that the worst form loses. Raises ConfigError where a metric is not defined, or no form was run."""
    before, after = dense.points(), [metrics.points() for metrics in forms]
    defined = [value for value in after if value is not None]
    if before is None or len(defined) < len(after):
        raise ConfigError(f"--eval: {dense.main} is not defined on these rows, so no loss can be told")
    if not defined:
        raise ConfigError("--forms: none of these can be run here, so no loss can be told; add fp32")
    return before - min(defined)


def _told(tried: Mapping[float, str]) -> str:
    """What each size came to."""
    return ", ".join(f"{size:.0%}: {found}" for size, found in tried.items())


@contextmanager
def _tried_beside(out: Path) -> Iterator[Path]:
    """A directory for the sizes that are tried; it goes when the artifact stands, and stays when something failed."""
    folder = out.parent / f".{out.name}.sizes"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
