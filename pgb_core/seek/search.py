"""One search: which sizes are made and timed, and what the chosen one keeps of what was asked for."""

from __future__ import annotations

import math
import shutil
from functools import partial
from pathlib import Path

from pgb_core.artifact import MANIFEST, Artifact, open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import OF_ONE_SIZE, ArtifactError, ConfigError, PlanError
from pgb_core.export.forms import runtime_here
from pgb_core.inference.load import load
from pgb_core.measure import comparison
from pgb_core.pipeline import Job, cache_of, made
from pgb_core.progress.part import PartReport
from pgb_core.progress.report import Report
from pgb_core.run.output import Output
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace
from pgb_core.seek.checks import check_defined, check_rows, run_here
from pgb_core.seek.promise import Promise, lost
from pgb_core.seek.sizes import SIZES, largest, smallest
from pgb_core.tasks.metrics import Metrics, standard_error
from pgb_core.tasks.parts import half

SECONDS = 1.0  # of timing for each form and shape
SHAPES = ((1, 32), (1, 128), (8, 128))


class _Timed(PartReport):
    """A model that is only timed. What is told of one that lacks its training does not hold for that of its size."""

    def note(self, text: str) -> None:
        """Not told."""

    def warn(self, text: str) -> None:
        """Not told."""


class Seeker:
    """One search. sizes: the directory that holds what is tried, in one of its own for these settings and data.

    Raises PGBError when the rows cannot tell a loss, or labels contradict the checkpoint: before any training.
    """

    def __init__(self, config: CompressConfig, sizes: Path, report: Report) -> None:
        self._config = config
        self._folder = sizes
        self._report = report
        self._speeds: dict[float, float] = {}
        self._tried: dict[float, str] = {}  # what each size came to, in words
        self._choosing = Shared(cache_of(config), partial(half, number=0), foretell=False, promises=True)
        nowhere, other = Workspace(sizes / ".none"), self._choosing.judged(partial(half, number=1))
        choosing, self._confirming = (
            Run.begin(self._plain(0.5), report, nowhere, shared) for shared in (self._choosing, other)
        )
        self._rows = check_rows(choosing, self._confirming)
        choosing.check_labels()
        for run in (choosing, self._confirming):
            check_defined(run.judge.of_dense())
        self._folder = sizes / self._asked(choosing)[:16]
        self._settle(sizes)

    def _asked(self, run: Run) -> str:
        """A digest of all that the sizes which are tried depend on."""
        left_out = {"out", "force", "resume", "threads", "cache", "forms", "max_drop", "min_speedup"}
        read = (run.inputs.training_digest, run.inputs.calibration_digest, run.meaning, self._confirming.meaning)
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
        most, least = self._config.max_drop, self._config.min_speedup
        keep = self._smallest(most or 0.0) if least is None else self._largest(least)
        drop = self._drop(keep)
        if least is not None and most is not None and drop > most:
            raise PlanError(
                f"keep {keep:.0%} is {self._speeds[keep]:.2f} times as fast and loses {drop:.2f} points; no size has "
                "both"
            )
        return self._confirmed(keep, drop)

    def _smallest(self, most: float) -> float:
        """The smallest size that loses at most so many points. Raises PlanError without any."""
        keep = smallest(SIZES, lambda size: self._small(size, most))
        if keep is None:
            raise PlanError(
                f"no size loses at most {most:g} points ({self._told()}); more rows, epochs or --train may help"
            )
        return keep

    def _largest(self, least: float) -> float:
        """The largest size that is so many times as fast as the dense model. Raises PlanError without any."""
        config = self._config
        if not config.options.compensates:
            self._report.note(
                f"--method {config.method} trains before it cuts: sizes are timed with what it keeps without training"
            )
        keep = largest(SIZES, lambda size: self._fast(size, least))
        if keep is None:
            raise PlanError(f"no size is {least:g} times as fast as the fastest dense form ({self._told()})")
        self._report.note(f"keep {keep:.0%} is the largest that is fast enough")
        return keep

    def _small(self, keep: float, most: float) -> bool | None:
        """Whether a model of this size loses little enough; None where it cannot be made."""
        try:
            drop = self._drop(keep)
        except OF_ONE_SIZE as error:
            self._refused(keep, error)
            return None
        self._tried[keep] = f"{drop:z.2f}"
        fits = drop <= most
        told = "accepted" if fits else "too much"
        self._report.note(f"keep {keep:.0%}: loses {drop:z.2f} points, at most {most:g} are allowed: {told}")
        return fits

    def _refused(self, keep: float, error: Exception) -> None:
        """No model of this size: larger ones are tried."""
        self._tried[keep] = "cannot be made"
        self._report.warn(f"keep {keep:.0%}: {error}")

    def _told(self) -> str:
        """What each size that was tried came to."""
        return ", ".join(f"{size:.0%}: {found}" for size, found in self._tried.items())

    def _drop(self, keep: float) -> float:
        """Points that the worst form of a size loses on the half that chooses."""
        manifest = self._made(keep).manifest
        accuracy = manifest.measured["accuracy"]
        dense = Metrics(accuracy["dense"])
        found = [manifest.forms[form].measured.get("accuracy", accuracy["compressed"]) for form in run_here(manifest)]
        return lost(dense, [Metrics(metrics) for metrics in found])

    def _made(self, keep: float) -> Artifact:
        return self._at(self.place(keep), self._plain(keep), PartReport(self._report, f"keep {keep:.0%}"))

    def _at(self, place: Path, config: CompressConfig, told: PartReport) -> Artifact:
        """What stands there in these forms, or what these settings make of the stages that are kept of this size.

        Only a stage that depends on the forms is done again for others. told: of this size. No share of the whole job
        is told, as nobody knows how many sizes there will be.
        """
        found = self._standing(place)
        if found is not None and found.manifest.provenance["settings"]["forms"] == list(config.forms):
            return found
        stages = Workspace(self._folder, self._report.warn).part(f"{_named(config.keep)}-stages")
        here = config.model_copy(update={"out": str(place), "force": True})
        output = Output(here)
        output.settle(stages, told)
        return made(Job(here, output, told, self._choosing), stages)[0]

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

    def _fast(self, keep: float, least: float) -> bool | None:
        """Whether a model of this size is fast enough: planned and cut, and not trained for it. None as `_small`."""
        untrained = self._plain(keep).model_copy(update={"epochs": 0.0, "steps": None, "eval": None})
        try:
            artifact = self._at(self._untrained(keep), untrained, _Timed(self._report, f"keep {keep:.0%} untrained"))
        except OF_ONE_SIZE as error:
            self._refused(keep, error)
            return None
        speed = self._speeds[keep] = self._speed(keep, artifact)
        self._tried[keep] = f"{speed:.2f}"
        fits = speed >= least
        told = "fast enough" if fits else "too slow"
        self._report.note(
            f"keep {keep:.0%}: {speed:.2f} times as fast as the fastest dense form, {least:g} are asked: {told}"
        )
        return fits

    def _speed(self, keep: float, artifact: Artifact) -> float:
        """Times as fast as the fastest dense form of each shape: the geometric mean over shapes, of the best form."""
        self._report.stage(f"Timing keep {keep:.0%} beside the dense model", len(SHAPES))
        found = comparison.compare(
            artifact, self._confirming.checkpoint, SHAPES, SECONDS, self._config.threads, self._report.advance
        )
        self._report.end()
        forms = [form for form in artifact.manifest.forms if form in found.timings]
        ratios = [[found.speedup(form, shape) or 0.0 for shape in found.shapes] for form in forms]
        best = max((math.prod(row) ** (1 / len(row)) for row in ratios if row), default=0.0)  # one form is served
        if not best:
            raise ConfigError("--min-speedup: no dense form, or none of --forms, can be timed on this machine")
        return best

    def _confirmed(self, keep: float, drop: float) -> Promise:
        """What the chosen size loses on the rows that did not choose, and how fast it is now that it is trained."""
        config, run, artifact = self._config, self._confirming, self._made(keep)
        speed = None if config.min_speedup is None else self._speed(keep, artifact)
        self._report.stage("Confirming on the rows that did not choose")
        dense = check_defined(run.judge.of_dense())
        scores = []
        for form in artifact.manifest.forms:
            if form in run_here(artifact.manifest):
                with load(artifact.path, form) as loaded:
                    scores.append(run.judge.of(loaded.runtime.run))
            elif runtime_here(form):  # the others were told before the search
                self._report.warn(f"form {form}: it did not run here, so nothing is promised of it")
        confirmed = lost(dense, [metrics for metrics in scores if metrics is not None])
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
