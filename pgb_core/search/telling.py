"""Refuses scores by which nothing can be chosen: a choice would be by the order of the weights alone."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from pgb_core.errors import PlanError

NOTHING_MATTERS = (
    "no {what} matters to the loss: the model is certain of every row, or answers all of them alike; give more or "
    "harder rows, or --method {other}"
)


def check_telling(scores: Iterable[Tensor], what: str, other: str) -> None:
    """Raises PlanError where all scores are 0, or one of them is not finite.

    what: that they are of, as 'weight'. other: a method that goes without such scores, for the remedy.
    """
    sums = [values.abs().double().sum() for values in scores]
    if any(not bool(value.isfinite()) for value in sums):
        raise PlanError(
            f"scores are not finite, so no {what} can be chosen by them: gradients or outputs of the model are too "
            f"large on some row. Give other rows, or --method {other}"
        )
    if not any(float(value) for value in sums):
        raise PlanError(NOTHING_MATTERS.format(what=what, other=other))
