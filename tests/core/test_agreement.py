"""What a form in low precision may lose to the model before the export stops."""

from __future__ import annotations

import numpy as np
import pytest

from pgb_core.errors import ParityError
from pgb_core.export.agreement import agreement
from pgb_core.export.forms import Limits

SURE, UNSURE = np.float32([0.0, 4.0]), np.float32([1.5, 0.0])


def test_one_input_in_a_hundred_may_be_decided_the_other_way() -> None:
    """Where two answers are nearly as likely; it is recorded. Of fewer than 101 inputs none may."""
    want = [SURE] * 200
    one, three = ([UNSURE] * count + [SURE] * (200 - count) for count in (1, 3))
    found = agreement(want, one, "softmax", None, None)
    found.check("int8", Limits())
    assert found.as_json()["largest_change"] > Limits().change
    assert found.as_json()["p99_change"] == 0
    with pytest.raises(ParityError, match=r"moved by 0\.80 or more for one input of a hundred, at most 0\.60"):
        agreement(want, three, "softmax", None, None).check("int8", Limits())
    with pytest.raises(ParityError, match="moved by"):
        agreement(want[:100], one[:100], "softmax", None, None).check("int8", Limits())


def test_too_few_equal_answers_stop_a_form_first() -> None:
    """However little probabilities moved."""
    near = [np.float32([0.01, 0.0])] * 10
    with pytest.raises(ParityError, match=r"only 70\.0% of 10 answers are the same, at least 80% must be"):
        agreement(near, near[:7] + [np.float32([0.0, 0.01])] * 3, "softmax", None, None).check("int8", Limits())


def test_logits_far_from_zero_have_probabilities_without_a_warning() -> None:
    """Of several labels, as of one."""
    far = [np.float32([-1000.0, 1000.0])]
    for activation in ("sigmoid", "softmax"):
        assert agreement(far, far, activation, None, None).largest == 0
        assert agreement(far, [-far[0]], activation, None, None).largest == 1


def numbers(values: np.ndarray) -> list[np.ndarray]:
    """One logit an input."""
    return [np.float32([value]) for value in values]


@pytest.mark.parametrize(
    ("activation", "low", "high"), [("none", 0.0, 5.0), ("none", 1000.0, 1002.0), ("sigmoid", -9, -3)]
)
def test_a_number_is_the_same_where_it_moved_by_little_of_the_range(activation: str, low: float, high: float) -> None:
    """Also before a sigmoid, far below 0. A scale or a shift that no correlation shows is another answer."""
    draw = np.random.default_rng(0)
    want = draw.uniform(low, high, 400)
    size = high - low
    noise = draw.normal(0, 0.01 * size, 400)
    near, scaled, shifted = want + noise, low + 1.6 * (want - low), want + 0.2 * size
    found = agreement(numbers(want), numbers(near), activation, None, None)
    found.check("int8", Limits())
    assert found.equal >= 0.99
    for wrong in (scaled, shifted, draw.permutation(want), np.full(400, high)):
        found = agreement(numbers(want), numbers(wrong), activation, None, None)
        with pytest.raises(ParityError, match="of 400 answers are the same"):
            found.check("int8", Limits())


def test_of_several_numbers_all_have_to_be_near() -> None:
    """Each by its own range; where all are equal, by how large they are."""
    draw = np.random.default_rng(1)
    want = np.stack([draw.uniform(0, 1, 50), draw.uniform(0, 100, 50), np.full(50, 10.0)], 1).astype(np.float32)
    for column, moved in ((0, 0.2), (1, 20.0), (2, 2.0)):
        got = want.copy()
        got[:, column] += moved
        assert agreement(list(want), list(got), "none", None, None).equal == 0
        got[:, column] -= 0.9 * moved
        assert agreement(list(want), list(got), "none", None, None).equal == 1


@pytest.mark.parametrize("activation", ["none", "softmax", "sigmoid"])
def test_what_is_not_finite_is_another_answer(activation: str) -> None:
    """And moved by as much as there is."""
    want = [np.float32([value, 0.5]) for value in np.linspace(1, 4, 200)]
    got = [want[0] * np.float32(np.nan), *want[1:]]
    found = agreement(want, got, activation, None, None)
    assert (found.equal, found.largest) == (0.995, 1.0)
    with pytest.raises(ParityError, match="only 0"):
        agreement(want, [row * np.float32(np.nan) for row in want], activation, None, None).check("int8", Limits())


def test_of_many_labels_all_that_are_given_count() -> None:
    """One that is missing, or too many, is another answer."""
    want = [np.float32([2.0, -2.0, 1.0])] * 4
    got = [want[0], np.float32([2.0, -2.0, -0.1]), np.float32([2.0, 0.1, 1.0]), np.float32([0.1, -4.0, 3.0])]
    assert agreement(want, got, "sigmoid", None, None).equal == 0.5
