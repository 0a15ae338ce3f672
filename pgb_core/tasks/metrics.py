"""Metrics of classifiers by their official definitions. An undefined metric is None with a reason, never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
# Metrics that are means of values from 0 to 1, whose standard error is at most that of a share.
SHARES = ("accuracy", "f1", "exact_match")
CORRELATIONS = ("pearson", "spearman", "matthews")
CONFIDENT = 1.96  # standard errors, of an interval of 95%
DIGITS = 4  # after the point, of scores in points; a difference of two has no more


class Metrics(dict[str, float | None]):
    """Metrics by name. `reasons` says of each that is None why it is not defined."""

    def __init__(self, values: Mapping[str, float | None], reasons: Mapping[str, str] | None = None) -> None:
        super().__init__(values)
        self.reasons = {name: (reasons or {}).get(name, "") for name, value in values.items() if value is None}

    @property
    def main(self) -> str:
        """The one by which a model is judged: F1 of answers, else the first."""
        return "f1" if "exact_match" in self else next(iter(self))

    def points(self) -> float | None:
        """The main one in points of 100; None where it is not defined. SQuAD's metrics are in points already."""
        value = self[self.main]
        return None if value is None else round(value if "exact_match" in self else 100 * value, DIGITS)

    def rounded(self, digits: int) -> dict[str, float | None]:
        """The values with so many digits after the point."""
        return {name: value if value is None else round(value, digits) for name, value in self.items()}


def accuracy(predicted: Array, gold: Array) -> float:
    """Share of equal entries; rows for two-dimensional input."""
    equal = predicted == gold
    return float(equal.all(-1).mean() if equal.ndim > 1 else equal.mean())


def f1(predicted: Array, gold: Array) -> float | None:
    """F1 of the positive class, micro-averaged over columns for multi-label input; None without positives."""
    hits = float(np.sum((predicted == 1) & (gold == 1)))
    total = float(np.sum(predicted == 1) + np.sum(gold == 1))
    return 2 * hits / total if total else None


def macro_f1(predicted: Array, gold: Array) -> float:
    """The mean of the F1 of each class that is predicted or in `gold`, so that rare classes count as much as others."""
    classes = np.union1d(predicted, gold)
    p, g = predicted[:, None] == classes, gold[:, None] == classes
    return float((2 * (p & g).sum(0) / (p.sum(0) + g.sum(0))).mean())


def matthews(predicted: Array, gold: Array) -> float | None:
    """Matthews correlation for any number of classes (Gorodkin 2004); None where one side is constant."""
    classes = np.union1d(predicted, gold)
    p = (predicted[:, None] == classes).astype(float)
    g = (gold[:, None] == classes).astype(float)
    p, g = p - p.mean(0), g - g.mean(0)
    if constant(predicted) or constant(gold):
        return None
    return float((p * g).sum()) / float(np.sqrt((p * p).sum() * (g * g).sum()))


def constant(values: Array) -> bool:
    """Whether all are equal, up to what float64 can tell apart."""
    return bool(np.ptp(values) <= 1e-13 * np.max(np.abs(values), initial=0.0)) if len(values) else True


def one_label(logits: Array, gold: Array) -> Metrics:
    """Accuracy, F1 of two classes, macro F1 of more, and Matthews. logits: [rows, labels]; gold: [rows], indices."""
    predicted = logits.argmax(1).astype(np.float64)
    found: dict[str, float | None] = {"accuracy": accuracy(predicted, gold)}
    if logits.shape[1] == 2:
        found["f1"] = f1(predicted, gold)
    else:
        found["macro_f1"] = macro_f1(predicted, gold)
    found["matthews"] = matthews(predicted, gold)
    reasons = {"f1": "no row is of class 1, and the model gives it to none", "matthews": _same(gold)}
    return Metrics(found, reasons)


def many_labels(logits: Array, gold: Array) -> Metrics:
    """Accuracy of whole rows and F1 over all entries. logits and gold: [rows, labels]."""
    predicted = (logits > 0).astype(np.float64)
    nothing = {"f1": "no row has a label, and the model gives none"}
    return Metrics({"accuracy": accuracy(predicted, gold), "f1": f1(predicted, gold)}, nothing)


def _same(target: Array) -> str:
    return "all rows have one label" if constant(target) else "the model gives all rows one answer"


def numbers(scores: Array, target: Array) -> Metrics:
    """Pearson and Spearman of two lines of numbers, [rows] each."""
    names = ("pearson", "spearman")
    if len(target) < 2:
        return Metrics(dict.fromkeys(names), dict.fromkeys(names, "a correlation needs two rows or more"))
    if constant(scores) or constant(target):
        return Metrics(dict.fromkeys(names), dict.fromkeys(names, _same(target)))
    pearson = float(stats.pearsonr(scores, target).statistic)
    return Metrics({"pearson": pearson, "spearman": float(stats.spearmanr(scores, target).statistic)})


def standard_error(metric: str, score: float, rows: int) -> float | None:
    """The standard error of a metric in points of 100 on so many rows; None where it is not known. For F1 at most.

    score: in points. Where all rows are right, or none is, the error is that of half a row that is not.
    """
    if rows < 2:
        return None
    half = 0.5 / rows
    share = min(1.0 - half, max(half, abs(score) / 100))
    if metric in SHARES:
        return 100 * math.sqrt(share * (1 - share) / rows)
    if metric in CORRELATIONS:
        return 100 * (1 - share * share) / math.sqrt(rows - 1)
    return None


def tells(drop: float, error: float | None) -> bool:
    """Whether rows of this standard error reliably tell a loss of so many points; also where the error is not known."""
    return error is None or drop >= CONFIDENT * error
