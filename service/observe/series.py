"""Metric series whose labels are looked up once and which are then counted directly.

At every count, the Prometheus library takes a lock, converts all labels to text and checks whether the metric may be
counted. With five histograms for each request, that was a twentieth of a request's cost beside the model. Here one
thread at a time counts a series, and a reader may miss the latest count.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Series = TypeVar("Series", covariant=True)


class Metric(Protocol[Series]):
    """A metric of the library that has labels."""

    def labels(self, *labelvalues: object) -> Series:
        """The series of these labels."""

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """Drop the series that have these labels."""


class Labelled(Generic[Series]):
    """A metric of the library, whose series are looked up in a table."""

    def __init__(self, metric: Metric[Series]) -> None:
        self._metric = metric
        self._series: dict[tuple[object, ...], Series] = {}

    def labels(self, *values: object) -> Series:
        """The series of these labels."""
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = self._metric.labels(*values)
        return found

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """Drop the series that have these labels."""
        self._metric.remove_by_labels(labels)
        self._series.clear()


class Buckets:
    """One series of a histogram: how many values were at most each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.sum = 0.0
        self.counts = [0] * (len(bounds) + 1)
        self.created = time.time()
        self._bounds = bounds

    def observe(self, value: float) -> None:
        """One more."""
        self.sum += value
        self.counts[bisect_left(self._bounds, value)] += 1


class Histogram(Collector):
    """A histogram that is shown like the library's own."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        registry: CollectorRegistry,
        buckets: Sequence[float],
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, tuple(labelnames)
        self._bounds = tuple(map(float, buckets))
        self._said = [str(floatToGoString(n)) for n in (*self._bounds, float("inf"))]  # type: ignore[no-untyped-call]
        self._series: dict[tuple[str, ...], Buckets] = {}
        registry.register(self)

    def labels(self, *values: str) -> Buckets:
        """The series of these labels."""
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = Buckets(self._bounds)
        return found

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Drop the series that have these labels."""
        for values in list(self._series):
            if labels.items() <= dict(zip(self._labels, values, strict=True)).items():
                del self._series[values]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What was counted so far."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in list(self._series.items()):
            family.add_metric(values, list(zip(self._said, accumulate(series.counts), strict=True)), series.sum)
            labels = dict(zip(self._labels, values, strict=True))
            family.add_sample(f"{self._name}_created", labels, series.created)
        yield family

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Its name, which no other metric may have."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
