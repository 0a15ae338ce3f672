"""How the capacity is found."""

from __future__ import annotations

import pytest

from benchmarks.load.capacity import find


@pytest.mark.parametrize("first", [5.0, 40.0, 90.0, 115.0, 500.0])
def test_capacity_does_not_depend_on_the_first_guess(first: float) -> None:
    """A guess that is far too low is raised until something stays unanswered."""
    assert find(lambda rate: (rate, min(rate, 100.0)), first, 2) == 100.0


def test_the_best_of_the_runs_that_saturate_counts() -> None:
    """One disturbed run changes nothing, and no more are made than asked for."""
    answers = [60.0, 100.0, 95.0]
    assert find(lambda rate: (200.0, answers.pop(0)), 200.0, 3) == 100.0
    assert not answers


def test_a_server_that_answers_everything_ends_the_search() -> None:
    """What it answered last is told."""
    asked: list[float] = []

    def offer(rate: float) -> tuple[float, float]:
        asked.append(rate)
        return rate, rate

    assert find(offer, 10.0, 1) == asked[-1]
    assert len(asked) == 9
