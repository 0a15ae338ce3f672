"""OpenTelemetry spans of requests and batches, created afterwards from their timings. Optional.

A request's span has its stages as children and links to the spans of the batches it ran in.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from service.observe.metrics import STAGES, Call, clock

THREAD = "pgb-trace"  # which sends the last spans, and may outlive the server
_LAST_SECONDS = 1.5


class Tracer:
    """Sends spans to an OTLP endpoint. Raises ImportError where the extra `otel` is not installed."""

    def __init__(self, endpoint: str, exporter: Any = None) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        resource = Resource.create()  # with what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "pgb-serve"}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("pgb-serve")
        self._caller = TraceContextTextMapPropagator()  # no baggage: nothing here reads it

    def batch(self, model: str, size: int, tokens: int, started: float, finished: float) -> object:
        """The context of a span for a batch that ran, for the requests in it to link to."""
        from opentelemetry.context import Context

        wall = _wall()
        attributes: dict[str, Any] = {"model": model, "batch.size": size, "batch.tokens": tokens}
        span = self._tracer.start_span("batch", Context(), attributes=attributes, start_time=wall(started))
        span.end(wall(finished))
        return span.get_span_context()

    def request(self, call: Call, headers: Mapping[str, str], name: str, status: int) -> None:
        """A span for a request, within the trace that its `traceparent` header names. A fault of the service makes it
        an error."""
        from opentelemetry import trace
        from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

        stamps, wall = call.stamps, _wall()
        attributes: dict[str, Any] = {"http.response.status_code": status, "request.id": call.id}
        attributes |= {"dialect": call.dialect, "model": call.model, "inputs": call.inputs, "tokens": call.tokens}
        span = self._tracer.start_span(
            name,
            self._caller.extract(headers),
            SpanKind.SERVER,
            attributes,
            [Link(mark) for mark in call.marks if isinstance(mark, SpanContext)],
            wall(stamps.received),
        )
        if call.answered:
            inside = trace.set_span_in_context(span)
            for stage, (begin, end) in zip(STAGES, stamps.spans(), strict=True):
                self._tracer.start_span(stage, inside, start_time=wall(begin)).end(wall(end))
        if call.failed(status):
            span.set_status(StatusCode.ERROR)
        span.end(wall(clock()))

    async def close(self) -> None:
        """Send what is left. An endpoint that does not answer is given up after a moment, and requests go on
        meanwhile."""
        last = threading.Thread(target=self._provider.shutdown, name=THREAD, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _LAST_SECONDS)


def _wall() -> Callable[[float], int]:
    """What makes nanoseconds of the wall clock of an instant. That clock may be set at any time, so this is for now."""
    offset = time.time() - clock()
    return lambda instant: round(1e9 * (instant + offset))
