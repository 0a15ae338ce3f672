"""What a compression will cost and take, told when its plan is made and before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgb_core.forecast import Expected, Fit, expected, known
from pgb_core.methods import steps
from pgb_core.methods.base import Method
from pgb_core.progress.remaining import about
from pgb_core.run.run import Run
from pgb_core.tasks.metrics import SHARES


@dataclass(frozen=True)
class Outlook:
    """What is expected of one size. metric: the main one; dense: the dense model's, in points; lost: None where no rows
    tell of it.

    seconds: that re-finetuning will take on this machine; the progress bar estimates the whole job.
    """

    keep: float
    kept: float
    metric: str | None
    dense: float | None
    lost: Expected | None
    fit: Fit
    seconds: float

    @property
    def said(self) -> str:
        """In a line."""
        head = f"keep {self.keep:g} keeps {self.kept:.1%} of the importance"
        rest = f"training takes {about(self.seconds)}"
        if self.dense is None:
            return f"{head}; with --eval you are told what it is expected to score; {rest}"
        if self.lost is None:
            reason = "no such models were measured, or the dense one is at chance"
            return f"{head}; {self.metric} cannot be told: {reason}; {rest}"
        scores = [self.dense - lost for lost in (self.lost.middle, self.lost.high, self.lost.low)]
        if self.metric in SHARES:  # a fit knows nothing of what is possible
            scores = [min(max(score, 0.0), 100.0) for score in scores]
        middle, low, high = scores
        return (
            f"{head}; {self.metric} is expected between {low:.1f} and {high:.1f}, where the dense model has "
            f"{self.dense:.1f} (middle {middle:.1f}; of {self.fit.rows} models trained from {self.fit.checkpoints} "
            f"checkpoints 4 in 5 were within such a range); {rest}"
        )


def outlook(run: Run, method: Method) -> Outlook | None:
    """What is expected of a run. None where its method has no plan before training, or starts from a student.

    The stages that it makes are kept, so the run goes on from them.
    """
    fit = known()
    if run.config.method != fit.method or run.start is not None or not run.config.trains:
        return None
    kept = method.importance_kept(run)
    if kept is None:
        return None
    metrics = run.judge.of_dense()
    metric = None if metrics is None else metrics.main
    dense = None if metrics is None else metrics.points()
    above = None if dense is None else _above_chance(run, dense)
    lost = None if above is None else expected(fit, kept, above)
    settings = run.config.model_copy(update={"epochs": 0.0, "steps": None})
    untrained = method.compress(replace(run, config=settings))
    training = steps.seconds_of_training(run, untrained.model, untrained.plan.stream)
    return Outlook(run.config.keep, kept, metric, dense, lost, fit, training)


def _above_chance(run: Run, dense: float) -> float | None:
    """Points that the dense model has above chance; None at chance, or for a task that the fit has no rows of."""
    subject = run.checkpoint.subject
    if not subject.task.per_token and subject.objective.activation != "softmax":
        return None
    chance = 0.0 if subject.task.per_token else 100 / len(subject.labels)
    return dense - chance if dense > chance else None
