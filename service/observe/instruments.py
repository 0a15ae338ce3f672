"""The Prometheus metrics of the service. One registry for each application, no globals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from service.observe import logs
from service.observe.metrics import STAGES, Call
from service.observe.series import Histogram, Labelled
from service.observe.shared import Shared

# A pruned encoder answers in a fraction of a millisecond: the first bucket is 100 µs.
BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
Figures = Callable[[], list[tuple[str, str, float, float, Mapping[str, str]]]]


class Instruments:
    """All metrics. Labels hold names of models, dialects and fixed words, never what a client sent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        model = ("model", "version")
        r = self.registry
        self.stages = {
            stage: Histogram(f"pgb_{stage}_duration_seconds", f"Time in {stage}", model, registry=r, buckets=BUCKETS)
            for stage in STAGES
        }
        self.request = Histogram(
            "pgb_request_duration_seconds",
            "Arrival to answer, of requests that were answered",
            model,
            registry=r,
            buckets=BUCKETS,
        )
        self.requests = Labelled(
            Counter("pgb_requests", "Requests, by dialect and status", ("dialect", "model", "status"), registry=r)
        )
        self.faults = Labelled(
            Counter("pgb_faults", "Requests that the service failed on", ("dialect", "model", "status"), registry=r)
        )
        self.rejections = Labelled(Counter("pgb_rejections", "Requests refused, by reason", ("reason",), registry=r))
        self.refused = Labelled(
            Counter("pgb_connections_refused", "Connections refused or closed, by reason", ("reason",), registry=r)
        )
        self.inputs = Labelled(Counter("pgb_inputs", "Texts, pairs or questions answered", model, registry=r))
        self.truncated = Counter("pgb_truncated_inputs", "Inputs cut to the model's length", model, registry=r)
        self.batch_size = Histogram("pgb_batch_size", "Inputs in a batch", model, registry=r, buckets=SIZES)
        self.batch_tokens = Histogram("pgb_batch_tokens", "Padded tokens in a batch", model, registry=r, buckets=TOKENS)
        self.batch_failures = Counter("pgb_batch_failures", "Batches on which the runtime failed", model, registry=r)
        self.saved = {
            what: Counter(f"pgb_saved_{what}", f"Work dropped before it ran: {what}", (*model, "reason"), registry=r)
            for what in ("inputs", "tokens", "seconds")
        }
        self.events = Counter("pgb_model_events", "Loads, swaps, unloads and failures", ("model", "event"), registry=r)
        self.load_seconds = Gauge("pgb_model_load_seconds", "Time the last load took", model, registry=r)
        self.open = Gauge("pgb_open_requests", "Requests that have arrived and are not answered", registry=r)
        self.draining = Gauge("pgb_draining", "1 from the signal to stop until the end", registry=r)
        self.scrapes, self.openmetrics_scrapes = _scrapes(self.text), _scrapes(self.openmetrics)
        r.register(_Log())
        ProcessCollector(registry=r)

    def watch(self, served: Figures) -> None:
        """Read `served() -> [(model, version, inputs waiting, tokens waiting, facts)]` at every scrape."""
        self.registry.register(_Models(served))

    def answered(self, call: Call) -> None:
        """An answered request."""
        labels = call.model, call.version
        for stage, seconds in zip(STAGES, call.stamps.stages(), strict=True):
            self.stages[stage].labels(*labels).observe(seconds)
        self.request.labels(*labels).observe(call.stamps.total)
        self.inputs.labels(*labels).inc(call.inputs)
        if call.truncated:
            self.truncated.labels(*labels).inc(call.truncated)

    def forget(self, model: str, version: str) -> None:
        """Drop the series of an unloaded version."""
        every: list[Any] = [*self.stages.values(), self.request, self.inputs, self.truncated, *self.saved.values()]
        every += [self.batch_size, self.batch_tokens, self.batch_failures, self.load_seconds]
        for metric in every:
            metric.remove_by_labels({"model": model, "version": version})

    def text(self) -> bytes:
        """Prometheus's text format, without the start of each series, which would be one more series for each."""
        return generate_latest(_WithoutBeginnings(self.registry))

    def openmetrics(self) -> bytes:
        """OpenMetrics 1.0."""
        return bytes(openmetrics.generate_latest(self.registry))  # type: ignore[no-untyped-call]


def _scrapes(make: Callable[[], bytes]) -> Shared[bytes]:
    async def made() -> bytes:
        return make()

    return Shared(made)


class _WithoutBeginnings(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """All but the samples that say when a series began."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if sample.name != f"{metric.name}_created"]
            yield metric


class _Log(Collector):
    def collect(self) -> list[Metric]:
        """The number of dropped log lines."""
        return [CounterMetricFamily("pgb_log_dropped", "Lines of the log that nobody fetched", value=logs.lost())]


class _Models(Collector):
    def __init__(self, served: Figures) -> None:
        self._served = served

    def collect(self) -> list[Metric]:
        """The current facts of each model."""
        inputs = GaugeMetricFamily("pgb_queue_inputs", "Inputs waiting", labels=("model", "version"))
        tokens = GaugeMetricFamily("pgb_queue_tokens", "Tokens waiting", labels=("model", "version"))
        info = InfoMetricFamily("pgb_model", "What is served, and what runs it", labels=("model", "version"))
        for model, version, count, size, facts in self._served():
            inputs.add_metric((model, version), count)
            tokens.add_metric((model, version), size)
            info.add_metric((model, version), dict(facts))
        return [inputs, tokens, info]
