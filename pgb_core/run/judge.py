"""Judges the models of one run by the task's metrics, on the rows that are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from pgb_core.checkpoints.load import Checkpoint
from pgb_core.inference.batches import Predict, run_all
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import remembering, torch_predictor
from pgb_core.progress.report import Report
from pgb_core.run.shared import Shared
from pgb_core.tasks import Source
from pgb_core.tasks.metrics import Metrics


@dataclass(frozen=True)
class Judge:
    """Measures the models of one run on its held-out rows.

    rows: that are held out; None without any, and then nothing is judged. some: those of them that models between two
    stages are judged by. dense: gives the checkpoint's model, on the run's device. key: of all that decides what the
    dense model scores. found: metrics of the models between the stages, by name, in order.
    """

    checkpoint: Checkpoint
    rows: Source | None
    some: Source | None
    dense: Callable[[], Encoder]
    report: Report
    shared: Shared
    key: str
    found: dict[str, Metrics] = field(default_factory=dict)

    def of(self, predict: Predict) -> Metrics | None:
        """Metrics of whatever gives logits; None without rows."""
        return None if self.rows is None else self._scored(self.rows, predict)

    def of_dense(self) -> Metrics | None:
        """Metrics of the dense model; None without rows."""
        return None if self.rows is None else self._of_dense(self.rows)[0]

    def between(self, name: str, model: Encoder) -> None:
        """Record the metrics of a model between two stages, where there are rows.

        Once a run: what is expected of it is told from the same models.
        """
        if self.some is not None and name not in self.found:
            self.found[name], _ = self._measured(name, model, self.some)

    def of_last(self, model: Encoder, trained: bool) -> tuple[Metrics | None, dict[str, object]]:
        """Metrics of the compact model; and those of all models, for the manifest.

        trained: whether it was re-finetuned, so that it is another than those between the stages.
        """
        if self.rows is None:
            return None, {}
        dense, dense_of_some = self._of_dense(self.rows)
        metrics, of_some = self._measured("compressed", model, self.rows)
        models = {"dense": dense, "compressed": metrics}
        for name, found in models.items():
            for metric, reason in found.reasons.items():
                self.report.warn(f"{metric} of the {name} model is not defined: {reason}")
        reasons = {name: found.reasons for name, found in models.items() if found.reasons}
        said = {**_rounded(models), "rows": len(self.rows.rows), **({"reasons": reasons} if reasons else {})}
        last = {"finetuned": of_some} if trained else {}
        return metrics, {"accuracy": said, **self._said({"dense": dense_of_some, **self.found, **last})}

    def _said(self, models: Mapping[str, Metrics]) -> dict[str, object]:
        """Metrics of the models between the stages, of the dense one and of the last one, on the same rows."""
        if self.some is None or not self.found:
            return {}
        return {"stage_accuracy": {**_rounded(models), "rows": len(self.some.rows)}}

    def _of_dense(self, rows: Source) -> tuple[Metrics, Metrics]:
        """See `_measured`. Once for all runs of this process."""
        return self.shared.once(self.key, lambda: self._measured("dense", self.dense(), rows))

    def _measured(self, name: str, model: Encoder, rows: Source) -> tuple[Metrics, Metrics]:
        """Metrics on these rows, and on `some` of them."""
        # A question may have several windows, and progress is told in windows.
        self.report.stage(f"Scoring the {name} model", None if self.checkpoint.task.windows else len(rows.rows))
        predict = remembering(torch_predictor(model))
        whole = self._scored(rows, predict, self.report.advance)
        return whole, whole if self.some is None or self.some is rows else self._scored(self.some, predict)

    def _scored(self, rows: Source, predict: Predict, progress: Callable[[int], None] = lambda count: None) -> Metrics:
        subject = self.checkpoint.subject
        run = partial(run_all, predict, progress=progress)
        return subject.task.score(rows, subject, self.checkpoint.served_tokenizer, run)


def _rounded(models: Mapping[str, Metrics]) -> dict[str, object]:
    return {name: metrics.rounded(6) for name, metrics in models.items()}
