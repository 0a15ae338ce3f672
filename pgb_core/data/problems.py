"""The kinds of problem that a classification head can be trained for."""

from __future__ import annotations

from enum import StrEnum


class Problem(StrEnum):
    """By the names that config.json has for them."""

    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"
    REGRESSION = "regression"


def problem_of(declared: str | None, labels: int) -> Problem:
    """What a head of so many labels is for. declared: the checkpoint's `problem_type`; without one it picks one label.

    A head of one output gives a number, whatever is declared.
    """
    if declared == Problem.REGRESSION or labels == 1:
        return Problem.REGRESSION
    return Problem.MULTI_LABEL if declared == Problem.MULTI_LABEL else Problem.SINGLE_LABEL
