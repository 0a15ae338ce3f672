"""What a search was asked for and found, and what a model loses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pgb_core.errors import ConfigError, TrainingError
from pgb_core.tasks.metrics import DIGITS, Metrics, tells


@dataclass(frozen=True)
class Promise:
    """What was asked and found. Scores and drops in points of 100, of the worst of the forms.

    chosen, confirmed: what is lost to the dense model on the half that chose, and on the half that did not. error:
    standard error of the dense score on a half; a small drop mostly has less, as both models answer the same rows.
    speedup: of the trained model, times the fastest dense form, the geometric mean over shapes, of the best form; None
    where no speed was asked for. runs: trainings.
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
    def told(self) -> bool:
        """Whether the rows that confirm can tell a loss as small as was asked for."""
        return tells(self.asked.get("max_drop", math.inf), self.error)

    @property
    def holds(self) -> bool:
        """Whether the result keeps all that was asked for."""
        return not self.missed


def lost(dense: Metrics, forms: Sequence[Metrics]) -> float:
    """Points that the worst form loses. dense: defined.

    Raises ConfigError where no form was run, TrainingError where one of them has no score.
    """
    before, after = dense.points(), [metrics.points() for metrics in forms]
    defined = [value for value in after if value is not None]
    if not after:
        raise ConfigError("--forms: none of these can be run here, so no loss can be told; add fp32")
    if before is None or len(defined) < len(after):
        raise TrainingError(f"{dense.main} of the compressed model is not defined: it gives all rows one answer")
    return round(before - min(defined), DIGITS)
