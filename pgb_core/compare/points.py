"""Makes the points of a comparison one after the other, and keeps the result of each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from pgb_core import __version__
from pgb_core.artifact import MANIFEST, Artifact, check_replaceable, open_artifact
from pgb_core.compare.config import CompareConfig
from pgb_core.compare.files import write
from pgb_core.compare.rows import Point, Row
from pgb_core.config import CompressConfig
from pgb_core.errors import OF_ONE_SIZE, ArtifactError, ConfigError, DataError, PGBError, out_of_memory
from pgb_core.inference.batches import Predict
from pgb_core.learn.batches import grouped
from pgb_core.methods import method_of
from pgb_core.model.predict import torch_predictor
from pgb_core.pipeline import cache_of, compress
from pgb_core.plan import ATTENTION, FEED_FORWARD, Plan, Role
from pgb_core.progress.part import PartReport
from pgb_core.progress.remaining import about
from pgb_core.progress.report import Report
from pgb_core.run.effort import EXPORTING, job_effort
from pgb_core.run.output import check_cache, check_folder
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace, key_of
from pgb_core.tasks.features import Features, token_count
from pgb_core.tasks.metrics import Metrics

SETTINGS = "compare.json"
TRIED_SECONDS = 2.0  # of the dense model, to know its pace
MOST_EPOCHS = 100.0
LEAST_EPOCHS = 0.01  # a step at least, as some methods learn in training what to keep
EXPORT = 10_000  # of a point's minutes, in tokens: more rows to score with leave the training as long
SCARCE = "there is not enough memory for it on this machine"
AS_IT_IS = "pgb"  # the method of the dense point: some others train the model for int8 where keep is 1
# What may change from one run of a comparison to the next: what is made, and where things are. The minutes of a point
# stand in the key as they come out.
_ELSEWHERE = {"out", "methods", "keep", "seeds", "seconds", "threads", "cache", "device"} | {
    *("checkpoint", "train", "eval", "calibrate", "trust_labels", "minutes", "quick")
}


@dataclass(frozen=True)
class Comparison:
    """What all points have in common, measured once.

    pace: seconds for one token of a training row through the dense model. dense: its score in points; metric: which;
    rows: on how many.
    """

    task: str
    pace: float
    dense: float
    metric: str
    rows: int


class _Quiet(PartReport):
    """A point of the comparison; what it warns of is kept with its row, too."""

    def __init__(self, outer: Report, name: str) -> None:
        super().__init__(outer, name)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Not told: there are many points."""

    def warn(self, text: str) -> None:
        """Kept."""
        self.notes.append(text)
        super().warn(text)


def points(config: CompareConfig) -> list[Point]:
    """Every method at every size, the largest sizes first; without the dense model.

    All methods of one seed stand together, because they have their rows and the dense model's scores in common.
    """
    return [
        Point(method, keep, seed) for keep in config.keep for seed in range(config.seeds) for method in config.methods
    ]


class Points:
    """The points of one comparison, in its directory.

    Raises ConfigError when the directory holds a comparison of other settings.
    """

    def __init__(self, config: CompareConfig, report: Report) -> None:
        self._config = config
        self._report = report
        check_folder(config.out, config.checkpoint)
        self._folder = Path(config.out)
        for point in (Point(AS_IT_IS, 1.0), *points(config)):
            check_cache(self.artifact(point), config.cache)
        first = config.point(config.methods[0], config.keep[0], 0, 1.0, str(self._folder / "point"))
        self._shared = Shared(cache_of(first), foretell=False)
        self._run = Run.begin(first, report, Workspace(self._folder / ".none"), self._shared)
        self.common = self._known()

    def made(self) -> Iterator[Row]:
        """A row for each point, from the disk where it is there with its artifact; what was refused is tried again.

        Every artifact that is there is opened before the work begins: one that is damaged is made again.
        """
        every = [Point(AS_IT_IS, 1.0), *points(self._config)]
        epochs = {point: self._epochs(point) for point in every}
        standing = {point: found for point in every if (found := self._standing(point, epochs[point])) is not None}
        rows = {point: Row.load(self._folder, point) for point in every}
        kept = {point: row for point, row in rows.items() if row and not row.refused and point in standing}
        waiting = [point for point in every if point not in kept]
        self._tell_short(waiting, epochs)
        self._report.begin(self._work(waiting, epochs))
        for point in every:
            row = kept.get(point)
            if row is None:
                row = self._make(point, epochs[point], standing.get(point))
                if row.refused and point.keep == 1:
                    raise ConfigError(f"the dense model cannot be exported: {row.refused}")
                row.save(self._folder)
            yield row

    def artifact(self, point: Point) -> Path:
        """Where the artifact of a point is."""
        return self._folder / point.name

    def _make(self, point: Point, epochs: float, standing: Artifact | None) -> Row:
        """standing: an artifact of the point that was written before its row could be."""
        if standing is not None:
            return _row(standing, point, epochs, standing.manifest.measured["seconds"], [])
        config = self._config.point(point.method, point.keep, point.seed, epochs, str(self.artifact(point)))
        config = config.model_copy(update={"force": True})  # all that may stand there now is damaged
        told, began = _Quiet(self._report, point.name), time.perf_counter()
        try:
            done = compress(config, told, self._shared)
        except (*OF_ONE_SIZE, ConfigError, MemoryError, RuntimeError) as error:  # of this point alone
            if isinstance(error, MemoryError | RuntimeError) and not out_of_memory(error):
                raise
            why = str(error) if isinstance(error, PGBError) else SCARCE
            self._report.warn(f"{point.name}: {why}")
            return Row(point, epochs=epochs, seconds=time.perf_counter() - began, refused=why)
        spent = max(time.perf_counter() - began, done.manifest.measured["seconds"])  # more where it was taken over
        return _row(done, point, epochs, spent, told.notes)

    def _standing(self, point: Point, epochs: float) -> Artifact | None:
        """The artifact of a point, None without; also where it is damaged, which is told.

        Raises ArtifactError when it is of another point or of other settings, or damaged and may not be replaced.
        """
        place = self.artifact(point)
        if not (place / MANIFEST).exists():
            return None
        try:
            found = open_artifact(place)
        except ArtifactError:
            check_replaceable(place)
            self._report.warn(f"{place}: damaged and left out; the point is made again")
            return None
        others = self._others(found, point, epochs)
        if others:
            raise ArtifactError(
                f"{found.path}: holds another artifact than this comparison makes there ({', '.join(others)} differ); "
                "move it away"
            )
        return found

    def _others(self, found: Artifact, point: Point, epochs: float) -> list[str]:
        """Settings in which an artifact differs from what is made of a point; not the dense one's method."""
        made = found.manifest.provenance.get("settings", {})
        asked = json.loads(json.dumps(self._of(point, epochs).described()))
        names = asked.keys() & made.keys() - (_ELSEWHERE - {"keep"})
        if point.keep == 1:
            names &= CompressConfig.model_fields.keys() - {"method"}
        return sorted(name for name in names if made[name] != asked[name])

    def _work(self, waiting: Sequence[Point], epochs: dict[Point, float]) -> dict[str, float]:
        """Expected work of all that is to be done, by title."""
        found: dict[str, float] = {}
        for point in waiting:
            run = self._of(point, epochs[point])
            for title, work in job_effort(run, method_of(run.config).effort(run)).items():
                found[PartReport.titled(point.name, title)] = work
        return found

    def _of(self, point: Point, epochs: float) -> Run:
        """A run that serves to be asked for its effort."""
        config = self._config.point(point.method, point.keep, point.seed, epochs, str(self.artifact(point)))
        return replace(self._run, config=config)

    def _epochs(self, point: Point) -> float:
        """As many as are asked for, or fit into the budget by the pace of the dense model."""
        if self._config.steps is not None and point.keep < 1:
            return self._config.steps / self._of(point, 1.0).per_epoch
        if self._config.minutes_a_point is None or point.keep == 1:
            return float(self._config.epochs or 0.0)
        tokens = 60 * self._config.minutes_a_point / self.common.pace
        low, high = 0.0, MOST_EPOCHS
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if self._cost(point, middle) <= tokens else (low, middle)
        return max(LEAST_EPOCHS, round(low, 2))

    def _cost(self, point: Point, epochs: float) -> float:
        """Expected work of a point, as its budget counts it."""
        run = self._of(point, epochs)
        every = job_effort(run, method_of(run.config).effort(run))
        return EXPORT + sum(work for title, work in every.items() if title != EXPORTING)

    def _tell_short(self, waiting: Sequence[Point], epochs: dict[Point, float]) -> None:
        """Warn of points that take longer than their minutes with the shortest training."""
        minutes = self._config.minutes_a_point
        for point in waiting:
            if minutes is None or point.keep == 1 or epochs[point] > LEAST_EPOCHS:
                continue
            seconds = self.common.pace * self._cost(point, LEAST_EPOCHS)
            if seconds > 60 * minutes:
                self._report.warn(
                    f"{point.name}: takes {about(seconds)} with hardly any training ({LEAST_EPOCHS:g} epochs), and "
                    f"the budget of a point is {minutes:g} min; give more --minutes, or leave {point.method} out"
                )

    def _known(self) -> Comparison:
        """What was measured before the first point, now or by a comparison that was stopped."""
        path, config = self._folder / SETTINGS, self._config
        asked = key_of(
            config.model_dump(exclude=_ELSEWHERE),
            config.minutes_a_point,
            __version__,
            self._run.checkpoint.key,
            self._run.inputs.training_digest,
            self._run.inputs.calibration_digest,
            self._run.meaning,
        )
        if path.exists():
            try:
                raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
                before, common = raw["asked"], Comparison(**raw["common"])
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(f"{path}: is damaged; remove the directory, or choose another --out") from error
            if before != asked:
                raise ConfigError(
                    f"{self._folder}: holds a comparison of other settings, data, label names or tokenizer, or by "
                    "another version of pgb; choose another --out"
                )
            return common
        common = self._measured()
        self._folder.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps({"asked": asked, "common": common.__dict__}, indent=1) + "\n")
        return common

    def _measured(self) -> Comparison:
        run = self._run
        held_out = run.inputs.held_out
        if held_out is None:
            raise ConfigError("no rows to judge by: --eval needs labelled rows")
        run.check_labels()
        predict = torch_predictor(run.dense)
        self._report.stage("Scoring the dense model")
        metrics = run.judge.of(predict)
        score = metrics.points() if metrics else None
        if metrics is None or score is None:
            raise DataError(f"{held_out.short}: the dense model's metric is not defined there; points cannot be judged")
        rows = run.inputs.training or run.inputs.calibration
        pace = _pace(predict, grouped(rows, run.config.tokens, run.config.seed))
        return Comparison(run.checkpoint.task.name, pace, score, metrics.main, len(held_out.rows))


def _pace(predict: Predict, groups: Sequence[Sequence[Features]]) -> float:
    """Seconds a token of a forward pass, on some of the groups that a training would take its steps on."""
    predict([item.tokens for item in groups[0]])  # the first pass allocates
    turns, tokens, began = cycle(groups), 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < TRIED_SECONDS:
        group = next(turns)
        predict([item.tokens for item in group])
        tokens += token_count(group)
    return spent / tokens


def _row(done: Artifact, point: Point, epochs: float, seconds: float, notes: list[str]) -> Row:
    manifest = done.manifest
    plan = Plan.from_json(done.plan.read_text("utf-8"))
    accuracy = manifest.measured["accuracy"]
    points = {
        form: Metrics(record.measured.get("accuracy", accuracy["compressed"])).points()
        for form, record in manifest.forms.items()
        if record.ran  # nobody knows what a form scores that did not run
    }
    scores = {form: value for form, value in points.items() if value is not None}
    sizes = {form: done.size(form) for form in manifest.forms}
    kept = manifest.weights["kept"] / manifest.weights["dense"]
    worth: list[list[float]] = manifest.measured.get("worth", {}).get("table", [])
    return Row(point, kept, epochs, seconds, scores, sizes, layers_of(plan), notes, worth)


def layers_of(plan: Plan) -> list[tuple[float, float]]:
    """Share kept of attention and of the feed-forward part, layer by layer."""

    def share(layer: int, roles: Sequence[Role]) -> float:
        choices = [plan.layer(layer)[role] for role in roles]
        return sum(choice.cost for choice in choices) / sum(choice.shape[0] * choice.shape[1] for choice in choices)

    return [(share(n, ATTENTION), share(n, FEED_FORWARD)) for n in range(plan.layers)]


__all__ = ["SETTINGS", "Comparison", "Points", "layers_of", "points"]
