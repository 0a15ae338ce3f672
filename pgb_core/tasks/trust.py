"""Decides whether a model and the labels of a file can mean the same. Pure: predictions and labels in.

A model that was trained for the task does better than chance on labels that are read correctly. If it clearly does
not, or does far better with its labels exchanged, then the labels are in another order, belong to another task, or
are noise. Every test has a margin, so that few rows do not cause a false alarm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]

FEWEST = 20  # rows: of fewer nothing is concluded
LOWEST_F1 = 20.0  # percent: less on answerable questions is what any words of the context get
_ABOVE_CHANCE = 3.0  # standard deviations of what chance gives, where rows are many
_TELLING = 4.0  # as many must a faultless model reach, or the rows cannot tell
_UNTRAINED = ", as of a model that was not trained for them"
_GAIN = 0.10  # of all rows that an exchange of labels must win
_OFF_SCALE = 4.0  # times the squared error that a line through the labels leaves


@dataclass(frozen=True)
class Verdict:
    """What the sample says. fault: the sentence to stop with, empty where nothing is wrong; told: the plain fact.

    figures: for the manifest. unlearnable: a fault of labels to learn from alone, which no metric shows.
    """

    told: str
    fault: str = ""
    figures: dict[str, object] = field(default_factory=dict)
    unlearnable: str = ""


def judge_classes(predicted: Sequence[int], targets: Sequence[int], labels: Sequence[str]) -> Verdict:
    """A head that picks one label: accuracy against the largest class, and against labels exchanged."""
    size, rows = len(labels), len(targets)
    table = np.zeros((size, size))
    np.add.at(table, (np.asarray(predicted, int), np.asarray(targets, int)), 1)
    hits, largest = float(np.trace(table)) / rows, float(table.sum(0).max()) / rows
    given, wanted = table.sum(0) / rows, table.sum(1) / rows
    return _Agreement(
        told=f"accuracy {hits:.2f} on {rows:,} rows, where the largest class has {largest:.2f}",
        rows=rows,
        hits=hits,
        best=largest,
        above=_deviations(hits, given @ wanted, rows),
        faultless=_deviations(1.0, given @ given, rows),
        few="too few of the other classes to tell whether the labels are right",
        exchange=_exchanged(table, rows, labels),
    ).verdict()


def judge_many(predicted: Array, targets: Array, labels: Sequence[str]) -> Verdict:
    """A head of many labels ([rows, labels] of 0 and 1): entries that agree, against the best constant answer."""
    rows = len(targets)
    agree = float((predicted == targets).mean())
    share, said = targets.mean(0), predicted.mean(0)
    best = float(np.maximum(share, 1 - share).mean())
    return _Agreement(
        told=f"{agree:.2f} of the entries agree on {rows:,} rows, where the best constant answer has {best:.2f}",
        rows=rows,
        hits=agree,
        best=best,
        above=_deviations((predicted == targets).mean(0), share * said + (1 - share) * (1 - said), rows),
        faultless=_deviations(1.0, share**2 + (1 - share) ** 2, rows),
        few="too few labels to tell whether they are right",
        exchange=_exchanged(predicted.T @ targets, float(targets.sum()), labels, " of the labels"),
    ).verdict()


@dataclass(frozen=True)
class _Agreement:
    """A share of hits, beside the share that the best constant answer has.

    told: both, in words. above, faultless: deviations from chance of the model and of a faultless one. few: said where
    these cannot tell. exchange: what to say where exchanged labels fit far better.
    """

    told: str
    rows: int
    hits: float
    best: float
    above: float
    faultless: float
    few: str
    exchange: str

    def verdict(self) -> Verdict:
        """What follows."""
        told = self.told
        figures: dict[str, object] = {
            "rows": self.rows,
            "accuracy": round(self.hits, 4),
            "majority": round(self.best, 4),
        }
        if self.rows < FEWEST:
            return Verdict(f"{told}; too few to tell whether the labels are right", "", figures)
        if self.exchange:
            return Verdict(told, f"{told}; {self.exchange}", figures)
        if self.faultless < _TELLING:
            return Verdict(f"{told}; {self.few}", "", figures)
        if self.hits <= self.best + 2 / math.sqrt(self.rows) and self.above < _needed(self.faultless):
            return Verdict(told, f"{told}; the model does no better than chance{_UNTRAINED}", figures)
        return Verdict(told, "", figures)


def judge_numbers(predicted: Array, targets: Array) -> Verdict:
    """A regression: whether predictions rise with the labels."""
    rows = len(targets)
    figures: dict[str, object] = {"rows": rows, "pearson": None}
    if rows < FEWEST or not np.ptp(targets) or not np.ptp(predicted):
        why = "too few" if rows < FEWEST else "the labels or the predictions are all equal: no way"
        return Verdict(f"{rows:,} labelled rows; {why} to tell whether the labels are right", "", figures)
    found = float(stats.pearsonr(predicted, targets).statistic)
    figures["pearson"] = round(found, 4)
    told = f"correlation {found:.2f} with the labels of {rows:,} rows"
    deviations = math.atanh(min(max(found, -0.999999), 0.999999)) * math.sqrt(rows - 3)
    needed = _needed(math.atanh(0.9) * math.sqrt(rows - 3))
    if deviations <= -_ABOVE_CHANCE:
        return Verdict(told, f"{told}; with the labels' sign turned it would be {-found:.2f}", figures)
    if deviations < needed:
        return Verdict(told, f"{told}; that is not clearly above 0{_UNTRAINED}", figures)
    return Verdict(told, "", figures)


def judge_values(predicted: Array, targets: Array) -> Verdict:
    """As `judge_numbers`, and whether both are on one scale: what learns from the labels gives numbers like them.

    They are not where the model is further off than a constant, though a line makes its numbers fit the labels.
    """
    found = judge_numbers(predicted, targets)
    known = found.figures["pearson"]
    if found.fault or not isinstance(known, float):
        return found
    spread, off = float(np.var(targets)), float(np.mean((predicted - targets) ** 2))
    if off <= max(spread, _OFF_SCALE * (1 - known**2) * spread):
        return found
    theirs, own = (f"mean {np.mean(one):.4g}, standard deviation {np.std(one):.4g}" for one in (targets, predicted))
    return replace(found, unlearnable=f"{found.told}, but they are on another scale ({theirs}) than its own ({own})")


def judge_answers(scores: Sequence[float]) -> Verdict:
    """Questions: F1 in percent of the model's best span for each answerable one."""
    rows = len(scores)
    if rows < FEWEST:
        told = f"{rows:,} answered questions; too few to tell whether the answers are right"
        return Verdict(told, "", {"rows": rows})
    mean = float(np.mean(scores))
    margin = 2 * float(np.std(scores)) / math.sqrt(rows)
    told = f"F1 {mean:.1f} on {rows:,} answered questions"
    figures: dict[str, object] = {"rows": rows, "f1": round(mean, 4)}
    if mean + margin < LOWEST_F1:
        return Verdict(told, f"{told}, which is clearly below {LOWEST_F1:.0f}{_UNTRAINED}", figures)
    return Verdict(told, "", figures)


def _deviations(hits: float | Array, chance: float | Array, rows: int) -> float:
    """By how many standard deviations of chance agreement the agreement is above it; 0 where chance is certain.

    Columns, where there are several, are taken together.
    """
    spread = math.sqrt(max(float(np.sum(chance * (1 - chance))), 0.0) / rows)
    return float(np.sum(hits - chance)) / spread if spread else 0.0


def _needed(faultless: float) -> float:
    """How far above chance a model must be: less on few rows, where a good one may be unlucky."""
    return min(_ABOVE_CHANCE, faultless / 6)


def _exchanged(table: Array, whole: float, labels: Sequence[str], of: str = "") -> str:
    """What the best exchange of labels would win, in words; empty where it is not much, or may be luck.

    table: counts by what was predicted and what was written; whole: what a faultless model would count.
    """
    predicted, written = linear_sum_assignment(table, maximize=True)
    before, after = float(np.trace(table)), float(table[predicted, written].sum())
    won = sum(float(table[p, w]) for p, w in zip(predicted, written, strict=True) if p != w)
    lost = won - (after - before)
    luck = math.sqrt(_TELLING**2 + 2 * math.lgamma(len(labels) + 1))
    if after <= before or after - before < _GAIN * whole or (after - before) < luck * math.sqrt(won + lost):
        return ""
    pairs = [
        f"'{labels[w]}' as '{labels[p]}'"
        for p, w in zip(predicted.tolist(), written.tolist(), strict=True)
        if p != w and table[p, w] > table[w, w]
    ]
    more = f" and {len(pairs) - 4} more" if len(pairs) > 4 else ""
    return f"reading {', '.join(pairs[:4])}{more} gives {after / whole:.2f}{of}, not {before / whole:.2f}"
