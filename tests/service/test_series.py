"""Histograms of ours are shown as the library shows its own."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client import Histogram as TheirHistogram

from service.observe.series import Histogram, Labelled

BOUNDS = (0.001, 0.25, 1, 10.0)
LABELS = ("model", "version")


def shown(registry: CollectorRegistry) -> str:
    """What a scrape reads, but for when a series was made."""
    return re.sub(r"(_created.*) .*", r"\1", generate_latest(registry).decode())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.001, 0.3, 1.0, 10.0, 11.0, -1.0]))))
def test_a_histogram_is_shown_as_the_library_shows_it(counted: list[tuple[str, float]]) -> None:
    """Of every series, values on the bounds and beyond all of them included; and after some were dropped."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    one = Histogram("x_seconds", "Time", LABELS, registry=ours, buckets=BOUNDS)
    other = TheirHistogram("x_seconds", "Time", LABELS, registry=theirs, buckets=BOUNDS)
    for model, value in counted:
        one.labels(model, "1").observe(value)
        other.labels(model, "1").observe(value)
    assert shown(ours) == shown(theirs)
    for metric in (one, other):
        metric.remove_by_labels({"model": "a", "version": "1"})
    assert shown(ours) == shown(theirs)
    assert 'model="a"' not in shown(ours)


def test_a_series_that_was_dropped_begins_again() -> None:
    """The table does not keep it alive."""
    registry = CollectorRegistry()
    counter = Labelled(Counter("x", "Things", LABELS, registry=registry))
    counter.labels("a", "1").inc(5)
    counter.remove_by_labels({"model": "a", "version": "1"})
    assert "x_total{" not in shown(registry)
    counter.labels("a", "1").inc()
    assert 'x_total{model="a",version="1"} 1.0' in shown(registry)
