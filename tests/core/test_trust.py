"""The check of labels against the dense model: it stops what is wrong, and lets through what is right or too few."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pgb_core.tasks import trust

LABELS = ("negative", "neutral", "positive")


def sample(rows: int, right: float, classes: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Predictions that are right with that chance, and targets."""
    g = np.random.default_rng(seed)
    targets = g.choice(classes, rows)
    other = (targets + g.integers(1, classes, rows)) % classes
    return np.where(g.random(rows) < right, targets, other).tolist(), targets.tolist()


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 512), right=st.floats(0.85, 1.0), classes=st.integers(2, 8))
@settings(max_examples=150, deadline=None)
def test_a_good_model_is_let_through(seed: int, rows: int, right: float, classes: int) -> None:
    """Of any size of sample."""
    predicted, targets = sample(rows, right, classes, seed)
    assert not trust.judge_classes(predicted, targets, [str(n) for n in range(classes)]).fault


@given(seed=st.integers(0, 10_000), rows=st.integers(200, 512), classes=st.integers(2, 8))
@settings(max_examples=100, deadline=None)
def test_labels_in_another_order_are_found(seed: int, rows: int, classes: int) -> None:
    """And the sentence says what the exchange would give."""
    predicted, targets = sample(rows, 0.9, classes, seed)
    turned = [(t + 1) % classes for t in targets]
    fault = trust.judge_classes(predicted, turned, [f"l{n}" for n in range(classes)]).fault
    assert "reading 'l" in fault
    assert " gives 0." in fault


def test_the_exchange_is_named() -> None:
    """Only what is exchanged."""
    predicted, targets = sample(300, 0.95, 3)
    exchanged = [{0: 2, 2: 0}.get(t, t) for t in targets]
    found = trust.judge_classes(predicted, exchanged, LABELS)
    assert "reading 'positive' as 'negative', 'negative' as 'positive' gives 0.9" in found.fault.replace(
        "'negative' as 'positive', 'positive' as 'negative'", "'positive' as 'negative', 'negative' as 'positive'"
    )
    assert "'neutral'" not in found.fault
    assert found.figures["rows"] == 300


def test_noise_is_stopped_and_imbalance_is_not() -> None:
    """A model at chance; one that finds the rare class, yet is right no more often than who never looks for it."""
    caught = sum(bool(trust.judge_classes(*sample(300, 0.5, 2, seed), ["a", "b"]).fault) for seed in range(100))
    assert caught >= 95
    g = np.random.default_rng(0)
    targets = (g.random(400) < 0.05).astype(int)
    predicted = np.where(targets == 1, g.random(400) < 0.8, g.random(400) < 0.06).astype(int)
    found = trust.judge_classes(predicted.tolist(), targets.tolist(), ["a", "b"])
    assert float(found.figures["accuracy"]) <= float(found.figures["majority"])  # type: ignore[arg-type]
    assert not found.fault


def test_few_rows_say_nothing() -> None:
    """Nor do rows of one class."""
    for predicted, targets in (([0] * 19, [1] * 19), ([0] * 200, [0] * 200), ([0] * 40, [0] * 39 + [1])):
        found = trust.judge_classes(predicted, targets, ["a", "b"])
        assert not found.fault
        assert "too few" in found.told


def test_on_few_rows_a_model_may_be_unlucky() -> None:
    """It is asked for less than on many, and for more than chance."""
    targets = [0, 1] * 10
    for wrong, stopped in ((6, False), (10, True)):
        predicted = [1 - target for target in targets[:wrong]] + targets[wrong:]
        fault = trust.judge_classes(predicted, targets, ["a", "b"]).fault
        assert ("no better than chance" in fault) is stopped
    assert "not clearly above 0" in trust.judge_numbers(np.array([0.0, 1.0] * 10), np.arange(20.0)).fault


def test_rare_labels_that_are_exchanged_stop_nothing() -> None:
    """An exchange must win a tenth of all rows, however certain it is."""
    targets = [0] * 9600 + [1] * 200 + [2] * 200
    predicted = [0] * 9600 + [2] * 200 + [1] * 200
    assert not trust.judge_classes(predicted, targets, LABELS).fault


def test_many_labels() -> None:
    """Right, columns exchanged, noise."""
    g = np.random.default_rng(0)
    targets = (g.random((300, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(float)
    predicted = np.where(g.random((300, 4)) < 0.92, targets, 1 - targets)
    labels = ["a", "b", "c", "d"]
    assert not trust.judge_many(predicted, targets, labels).fault
    assert "'b' as 'a'" in trust.judge_many(predicted, targets[:, [1, 0, 2, 3]], labels).fault
    noise = (g.random((300, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(float)
    said = "the model does no better than chance, as of a model that was not trained for them"
    assert said in trust.judge_many(noise, targets, labels).fault
    assert "too few" in trust.judge_many(noise[:10], targets[:10], labels).told
    assert "too few" in trust.judge_many(noise, np.zeros((300, 4)), labels).told
    constant = np.zeros((300, 4))
    assert trust.judge_many(constant, targets, labels).fault


def test_numbers() -> None:
    """Rising, falling, unrelated, constant."""
    g = np.random.default_rng(0)
    labels = g.random(200)
    assert not trust.judge_numbers(labels + g.normal(0, 0.3, 200), labels).fault
    assert "sign turned" in trust.judge_numbers(-labels + g.normal(0, 0.3, 200), labels).fault
    assert "not clearly above 0" in trust.judge_numbers(g.random(200), labels).fault
    assert not trust.judge_numbers(labels, np.ones(200)).fault
    assert not trust.judge_numbers(labels[:5], -labels[:5]).fault
    assert not trust.judge_numbers(labels, labels).fault


@pytest.mark.parametrize(
    ("written", "off"),
    [
        (lambda own, noise: own + noise, False),
        (lambda own, noise: 0.5 * own + 3 * noise, False),  # a weak model
        (lambda own, noise: 5 * own + noise, True),
        (lambda own, noise: own / 5 + noise / 5, True),
        (lambda own, noise: own + 3 + noise, True),
        (lambda own, noise: -5 * own, False),  # which is a fault of its own
    ],
)
def test_the_scale_of_numbers(written: Callable[..., NDArray[np.float64]], off: bool) -> None:
    """From 0 to 1 and from 0 to 5, say: no correlation tells them apart, and a model learns it."""
    g = np.random.default_rng(0)
    own = g.random(200)
    found = trust.judge_values(own, written(own, g.normal(0, 0.1, 200)))
    assert ("another scale (mean" in found.unlearnable) == off
    assert not trust.judge_values(own[:5], 5 * own[:5]).unlearnable


@pytest.mark.parametrize(("scores", "stopped"), [([5.0] * 60, True), ([0, 100] * 30, False), ([0.0] * 19, False)])
def test_answers(scores: list[float], stopped: bool) -> None:
    """Below what any words get, above, and too few."""
    assert bool(trust.judge_answers(scores).fault) is stopped
