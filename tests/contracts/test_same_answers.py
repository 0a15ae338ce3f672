"""How answers of two ways are held against each other."""

from __future__ import annotations

import pytest

from benchmarks.same_answers import Rows, compared

SAID = {"answer": "the town", "start": 4, "end": 12, "score": 0.5}


def test_labels_are_equal_by_the_best_one_and_scores_by_every_one() -> None:
    """A row whose best label is another is counted, and shown by its scores."""
    served = [{"good": 0.9, "bad": 0.1}, {"good": 0.6, "bad": 0.4}]
    found = compared(served, [{"bad": 0.125, "good": 0.875}, {"good": 0.45, "bad": 0.55}])
    assert (found["rows"], found["equal"]) == (2, 1)
    assert found["largest_difference"] == pytest.approx(0.025)
    assert [each["row"] for each in found["different"]] == [1]


@pytest.mark.parametrize("other", [{**SAID, "start": 3}, {**SAID, "answer": "The town"}, None])
def test_answers_are_equal_by_text_and_place(other: dict[str, object] | None) -> None:
    """No text of a row goes into the results."""
    found = compared([SAID, SAID], [{**SAID, "score": 0.75}, other])
    assert (found["equal"], found["largest_difference"]) == (1, 0.25)
    assert "town" not in str(found)


def test_no_answer_equals_no_answer() -> None:
    """And nothing else."""
    assert compared([None], [None]) == {"rows": 1, "equal": 1, "largest_difference": 0.0}


def test_rows_are_spread_over_the_whole_set() -> None:
    """As many as are asked for, or all."""
    rows = Rows(list("abcdef"), list("ABCDEF"))
    assert rows.spread(3) == Rows(["a", "c", "e"], ["A", "C", "E"])
    assert rows.spread(100) == rows
