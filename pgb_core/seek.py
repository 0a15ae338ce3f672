"""Finds the smallest model within a loss, or the largest model of a given speed, in few runs.

One half of the held-out rows chooses the size. The other half, which no choice has used, measures the result.
"""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pgb_core.artifact import MANIFEST, Artifact, Manifest, open_artifact, repair, sha256_of
from pgb_core.config import CompressConfig
from pgb_core.errors import OF_ONE_SIZE, ArtifactError, ConfigError, PlanError, TrainingError
from pgb_core.export.card import measured_anew
from pgb_core.export.forms import form_of
from pgb_core.inference.load import load
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.measure import comparison
from pgb_core.pipeline import Job, cache_of, made
from pgb_core.progress.report import Report
from pgb_core.run.output import Output, check_place
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace, locked
from pgb_core.tasks.metrics import Metrics, standard_error
from pgb_core.tasks.parts import half, seen
from pgb_core.threads import threads

SIZES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
FEWEST = 40  # rows of a half, below which nothing can be promised
# Share of the rows of --eval that may be among those to learn from: data sets have a few natural ones, CoLA 1.5 %.
MOST_SEEN = 0.05
SECONDS = 1.0  # of timing for each form and shape
_PUBLISHED = "published"  # the digest of the artifact that a search is about to put in place
SHAPES = ((1, 32), (1, 128), (8, 128))


@dataclass(frozen=True)
class Promise:
    """What was asked and found. Scores and drops in points of 100, of the worst of the forms.

    chosen, confirmed: what is lost to the dense model on the half that chose, and on the half that did not. error:
    standard error of the dense score on a half, at most that of a drop. speedup: of the trained model, times the
    fastest dense form, the geometric mean over shapes, of the best form; None where no speed was asked for. runs:
    trainings.
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
    def missed(self) -> tuple[str, ...]:
        """Which of the settings that were asked for the result does not keep, by its confirmed loss and its speed."""
        slow = (self.speedup or 0.0) < self.asked.get("min_speedup", 0.0)
        lossy = self.confirmed > self.asked.get("max_drop", math.inf)
        return (*(("max_drop",) if lossy else ()), *(("min_speedup",) if slow else ()))

    @property
    def holds(self) -> bool:
        """Whether the result keeps all that was asked for."""
        return not self.missed


def seek(config: CompressConfig, report: Report) -> tuple[Artifact, Promise]:
    """Find the size that `max_drop` and `min_speedup` ask for, and put its artifact at `out`. Raises PGBError.

    Every size that was tried is kept beside `out`, with its stages, until the artifact stands: the same command goes on
    from there.
    """
    check_place(config.out, config.checkpoint, config.cache)
    out = Path(config.out)
    with locked(out, report.warn), threads(config.threads), _tried_beside(out) as folder:
        mended = repair(out)
        if mended:
            report.warn(mended)
        _tidy(out, folder)
        _check_free(config)
        _check_forms(config, report)
        seeker = _Seeker(config, folder, report)
        found = seeker.found()
        _check_free(config)  # once more: the search may have taken hours
        promise = {"promise": {**asdict(found), "holds": found.holds}}

        def ready(digest: str) -> None:
            (folder / _PUBLISHED).write_text(digest, "utf-8")

        return measured_anew(seeker.place(found.keep), promise, out, ready), found


def _check_free(config: CompressConfig) -> None:
    """Raises PGBError when no artifact may be written at `out`."""
    check_place(config.out, config.checkpoint)
    if not config.force and (Path(config.out) / MANIFEST).exists():
        raise ConfigError(f"{config.out}: exists; --force replaces it when the new artifact is done, or choose another")


def _tidy(out: Path, sizes: Path) -> None:
    """Remove what a search had tried that was stopped after its artifact stood."""
    published = sizes / _PUBLISHED
    if published.exists() and (out / MANIFEST).exists() and published.read_text() == sha256_of(out / MANIFEST):
        shutil.rmtree(sizes)


def _check_forms(config: CompressConfig, report: Report) -> None:
    """Say which forms cannot be judged here. Raises ConfigError when that leaves none."""
    here = [form for form in config.forms if _engine_here(form)]
    if not here:
        raise ConfigError("--forms: the engine of none of these is installed, so no loss can be told; add fp32")
    if config.min_speedup is not None and all(form_of(form).devices[0] != "cpu" for form in here):
        raise ConfigError("--min-speedup is measured on the CPU, and none of --forms is for it; add fp32")
    for form in config.forms:
        if form not in here:
            report.warn(f"form {form}: its engine is not installed, so nothing is promised of it")


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
    """One search. sizes: the directory that holds what is tried, in one of its own for these settings and data.

    Raises PGBError when the rows cannot tell a loss, or labels contradict the checkpoint: before any training.
    """

    def __init__(self, config: CompressConfig, sizes: Path, report: Report) -> None:
        self._config = config
        self._folder = sizes
        self._report = report
        self._choosing = Shared(cache_of(config), partial(half, number=0), foretell=False, promises=True)
        nowhere, other = Workspace(sizes / ".none"), self._choosing.judged(partial(half, number=1))
        choosing, self._confirming = (
            Run.begin(self._plain(0.5), report, nowhere, shared) for shared in (self._choosing, other)
        )
        self._rows = _check_rows(choosing, self._confirming)
        choosing.check_labels()
        for run in (choosing, self._confirming):
            _check_defined(run.judge.of_dense())
        self._folder = sizes / self._asked(self._confirming)[:16]
        self._settle(sizes)

    def _asked(self, run: Run) -> str:
        """A digest of all that the sizes which are tried depend on."""
        left_out = {"out", "force", "resume", "threads", "cache", "forms", "max_drop", "min_speedup"}
        read = (run.inputs.training_digest, run.inputs.calibration_digest, run.meaning)
        return run.first("sought", self._config.model_dump(exclude=left_out), *read).digest

    def _settle(self, sizes: Path) -> None:
        """Look at what a stopped search left. Raises ConfigError when it was to be this one, and was another."""
        config = self._config
        if config.resume and not self._folder.is_dir():
            if sizes.is_dir() and any(sizes.iterdir()):
                raise ConfigError(
                    f"{config.out}: the stopped search had other settings or data; leave --resume out to begin another"
                )
            self._report.note(f"{config.out}: nothing is kept of a stopped search; this one starts anew")
        if config.resume is False:
            shutil.rmtree(self._folder, ignore_errors=True)
        for size in SIZES:
            for place in (self.place(size), self._untrained(size)):
                self._standing(place)

    def place(self, keep: float) -> Path:
        """Where the artifact of a size is made; it has the name that it will have."""
        return self._folder / _named(keep) / Path(self._config.out).name

    def _untrained(self, keep: float) -> Path:
        """Where a model of that size is made that is only timed."""
        return self._folder / f"{_named(keep)}-untrained" / "model"

    def found(self) -> Promise:
        """The search, and the confirmation."""
        config = self._config
        speeds: dict[float, float] = {}
        tried: dict[float, str] = {}
        if config.min_speedup is not None:
            if config.options.learns:
                self._report.note(
                    f"--method {config.method} learns what to keep: sizes are timed with what it keeps without training"
                )
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
        return self._confirmed(keep, drop)

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
        """What stands there in these forms, or what these settings make of the stages that are kept of this size.

        Only a stage that depends on the forms is done again for others.
        """
        found = self._standing(place)
        if found is not None and found.manifest.provenance["settings"]["forms"] == list(config.forms):
            return found
        stages = Workspace(self._folder, self._report.warn).part(f"{_named(config.keep)}-stages")
        here = config.model_copy(update={"out": str(place), "force": True})
        output = Output(here)
        output.settle(stages, self._report)
        return made(Job(here, output, self._report, self._choosing), stages)[0]

    def _standing(self, place: Path) -> Artifact | None:
        """The artifact that was made there, if any. A damaged one is told and removed, so that it is made again."""
        if not (place / MANIFEST).exists():
            return None
        try:
            return open_artifact(place)
        except ArtifactError:
            self._report.warn(f"{place}: damaged and left out; it is made again")
            shutil.rmtree(place)
            return None

    def _fast(self, keep: float, least: float, speeds: dict[float, float], tried: dict[float, str]) -> bool | None:
        """Whether a model of this size is fast enough: planned and cut, and not trained for it."""
        untrained = self._plain(keep).model_copy(update={"epochs": 0.0, "steps": None, "eval": None})
        try:
            artifact = self._at(self._untrained(keep), untrained)
        except OF_ONE_SIZE as error:
            self._refused(keep, error, tried)
            return None
        speeds[keep] = self._speed(keep, artifact)
        tried[keep] = f"{speeds[keep]:.2f}"
        self._report.note(f"keep {keep:.0%}: {speeds[keep]:.2f} times the fastest dense form where {least:g} are asked")
        return speeds[keep] >= least

    def _speed(self, keep: float, artifact: Artifact) -> float:
        """Times as fast as the fastest dense form: the geometric mean over shapes, of the best form."""
        self._report.stage(f"Timing keep {keep:.0%} beside the dense model", len(SHAPES))
        found = comparison.compare(
            artifact, self._config.checkpoint, SHAPES, SECONDS, self._config.threads, self._report.advance
        )
        forms = [form for form in artifact.manifest.forms if form in found.timings]
        ratios = [max(found.speedup(form, shape) or 0.0 for form in forms) for shape in found.shapes if forms]
        if not ratios or not all(ratios):
            raise ConfigError("--min-speedup: no dense form, or none of --forms, can be timed on this machine")
        return math.exp(sum(map(math.log, ratios)) / len(ratios))

    def _confirmed(self, keep: float, drop: float) -> Promise:
        """What the chosen size loses on the rows that did not choose, and how fast it is now that it is trained."""
        config, run, artifact = self._config, self._confirming, self._made(keep)
        speed = None if config.min_speedup is None else self._speed(keep, artifact)
        self._report.stage("Confirming on the rows that did not choose")
        dense = _check_defined(run.judge.of_dense())
        scores = []
        for form in artifact.manifest.forms:
            if form in _run_here(artifact.manifest):
                with load(artifact.path, form) as loaded:
                    scores.append(run.judge.of(loaded.runtime.run))
            elif _engine_here(form):  # the others were told before the search
                self._report.warn(f"form {form}: it did not run here, so nothing is promised of it")
        confirmed = _lost(dense, [metrics for metrics in scores if metrics is not None])
        error = standard_error(dense.main, dense.points() or 0.0, self._rows)
        asked = {name: getattr(config, name) for name in ("max_drop", "min_speedup")}
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


def _named(keep: float) -> str:
    """How the directories of a size begin."""
    return f"{100 * keep:g}"


def _engine_here(form: str) -> bool:
    """Whether the engine that runs a form is installed."""
    try:
        importlib.import_module(RUNTIMES[form_of(form).runtimes[0]].module)
    except ImportError:
        return False
    return True


def _run_here(manifest: Manifest) -> list[str]:
    """The forms that were run when the artifact was written; others lack their engine or device."""
    return [name for name, record in manifest.forms.items() if record.ran]


def _check_rows(choosing: Run, confirming: Run) -> int:
    """How many rows confirm. Raises ConfigError when they are too few, or too many of --eval are learned from."""
    halves = [(run.inputs.held_out, run.inputs.sources) for run in (choosing, confirming)]
    counts = [(len(rows.rows), seen(rows, learned)) for rows, learned in halves if rows is not None]
    (_, _), (confirm, _) = counts
    if confirm < FEWEST:
        raise ConfigError(f"--eval: half of the rows are {confirm}, too few to tell a loss; give {2 * FEWEST} or more")
    every, known = (sum(column) for column in zip(*counts, strict=True))
    if known > 1 and known > MOST_SEEN * every:
        raise ConfigError(
            f"--eval: {known:,} of {every:,} rows are among the rows to learn from, too many to tell a loss (at most "
            f"{MOST_SEEN:.0%} may be); take them out of one of the files"
        )
    return confirm


def _check_defined(dense: Metrics | None) -> Metrics:
    """The same. Raises ConfigError where the dense model has no score, so that no loss can be told."""
    if dense is None or dense.points() is None:
        reason = f" ({dense.reasons[dense.main]})" if dense is not None and dense.reasons[dense.main] else ""
        name = "the metric" if dense is None else f"{dense.main} of the dense model"
        raise ConfigError(f"--eval: {name} is not defined on half of the rows{reason}; give more, or other ones")
    return dense


def _lost(dense: Metrics, forms: Sequence[Metrics]) -> float:
    """Points that the worst form loses. dense: defined.

    Raises ConfigError where no form was run, TrainingError where one of them has no score.
    """
    before, after = dense.points(), [metrics.points() for metrics in forms]
    defined = [value for value in after if value is not None]
    if not after:
        raise ConfigError("--forms: none of these can be run here, so no loss can be told; add fp32")
    if before is None or len(defined) < len(after):
        raise TrainingError(f"{dense.main} of the compressed model is not defined: it gives all rows one answer")
    return before - min(defined)


def _told(tried: Mapping[float, str]) -> str:
    """What each size came to."""
    return ", ".join(f"{size:.0%}: {found}" for size, found in tried.items())


@contextmanager
def _tried_beside(out: Path) -> Iterator[Path]:
    """A directory for the sizes that are tried; whoever makes the first one makes it.

    It goes when the artifact stands. When something failed, it stays if it holds anything.
    """
    folder, done = out.parent / f".{out.name}.sizes", False
    try:
        yield folder
        done = True
    finally:
        if done or not any(path.is_file() for path in folder.rglob("*")):
            shutil.rmtree(folder, ignore_errors=True)
