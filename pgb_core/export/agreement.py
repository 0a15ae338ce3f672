"""Measures how far a low-precision form differs from the model: answers, probabilities and the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgb_core.errors import ParityError
from pgb_core.export.forms import Limits
from pgb_core.tasks.metrics import DIGITS, Metrics

Logits = Sequence[NDArray[np.float32]]
# Of the range of the model's numbers: one that moved by at most this is the same answer. The int8 form of a sound model
# moves one in a hundred by more, and loses less than a tenth of a point of the correlation.
ALIKE = 0.05


@dataclass(frozen=True)
class Agreement:
    """How far a form agrees with the model, on the same inputs.

    equal: share of inputs with the same answer. largest, within, middle: change of a probability, or of a regression's
    number as a share of the range of the model's, the largest of an input: at its most, what 99 of 100 inputs stay
    within, and in the middle. metrics: of the form on labelled rows; drop: points of the main metric that it lost there
    to the model, None without such rows.
    """

    inputs: int
    equal: float
    largest: float
    within: float
    middle: float
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    drop: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        found: dict[str, Any] = {
            "inputs": self.inputs,
            "equal_answers": round(self.equal, 6),
            "largest_change": round(self.largest, 6),
            "p99_change": round(self.within, 6),
            "middle_change": round(self.middle, 6),
        }
        if self.metrics:
            found["accuracy"] = dict(self.metrics)
        if self.drop is not None:
            found["drop"] = self.drop
        return found

    def check(self, form: str, limits: Limits) -> None:
        """Raises ParityError when more was lost than may be.

        One input of a hundred may change by more: where two answers are nearly as likely, a form may prefer the other.
        """
        lost = ""
        if self.equal < limits.equal:
            lost = f"only {self.equal:.1%} of {self.inputs} answers are the same, at least {limits.equal:.0%} must be"
        elif self.within > limits.change:
            lost = (
                f"a probability, or a number by its range, moved by {self.within:.2f} or more for one input of a "
                f"hundred, at most {limits.change:.2f} is allowed"
            )
        elif self.drop is not None and self.drop > limits.drop:
            lost = f"it loses {self.drop:.2f} points of the metric, at most {limits.drop:g} are allowed"
        if lost:
            raise ParityError(
                f"form {form} differs too much from the model: {lost}. Leave it out of --forms, and add --plan-for "
                f"{form} if it decided the plan: then all that was done counts"
            )


def agreement(
    want: Logits, got: Logits, activation: str, reference: Metrics | None, found: Metrics | None
) -> Agreement:
    """Logits of the same inputs by the model and by the form: [labels], or [tokens, 2], each.

    activation: softmax, sigmoid or none, which makes probabilities of them. reference, found: metrics of either. Logits
    that are not finite are another answer, moved by as much as there is.
    """
    numbers = all(_is_number(a, activation) for a in want)
    unit = _range(want) if numbers else np.ones(1)
    changes, same = [], []
    for a, b in zip(want, got, strict=True):
        sound = bool(np.isfinite(b).all())
        moved = float((np.abs(a.astype(np.float64) - b) / unit).max()) if numbers and sound else 1.0
        change = moved
        if sound and (activation != "none" or not numbers):
            change = float(np.abs(_probabilities(a, activation) - _probabilities(b, activation)).max())
        changes.append(change)
        same.append(sound and (moved <= ALIKE if numbers else _answer(a, activation) == _answer(b, activation)))
    drop = None
    if reference is not None and found is not None:
        before, after = reference.points(), found.points()
        drop = round(before - after, DIGITS) if before is not None and after is not None else None
    metrics = found.rounded(6) if found is not None else {}
    within = float(np.quantile(changes, 0.99, method="higher"))
    middle = float(np.median(changes))
    return Agreement(len(same), float(np.mean(same)), max(changes), within, middle, metrics, drop)


def _probabilities(logits: NDArray[np.float32], activation: str) -> NDArray[np.float64]:
    """The probability of each label; or of each token, as start and as end."""
    values = logits.astype(np.float64)
    if logits.ndim == 2 or activation == "softmax":
        powers = np.exp(values - values.max(0))
        return np.asarray(powers / powers.sum(0))
    return np.asarray(np.exp(-np.logaddexp(0, -values))) if activation == "sigmoid" else values


def _is_number(logits: NDArray[np.float32], activation: str) -> bool:
    """Whether the answer is a number and no label: a regression's, or the one that a cross-encoder's sigmoid takes."""
    return logits.ndim == 1 and (activation == "none" or len(logits) == 1)


def _range(numbers: Logits) -> NDArray[np.float64]:
    """From the least to the largest of each output, [outputs]; where all are equal, how large they are."""
    every = np.stack(numbers).astype(np.float64)
    size, spread = np.abs(every).max(0), np.ptp(every, 0)
    flat = spread <= 1e-6 * size
    return np.where(flat, np.where(size > 0, size, 1.0), spread)


def _answer(logits: NDArray[np.float32], activation: str) -> tuple[object, ...]:
    """The most likely label, or start and end; the labels that are given, where there may be several."""
    if logits.ndim == 1 and activation == "sigmoid":
        return tuple((logits > 0).tolist())
    return tuple(int(n) for n in np.atleast_1d(logits.argmax(0)))
