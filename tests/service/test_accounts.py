"""The accounts of latency agree: body, header, histograms, v2 statistics, spans."""

import asyncio
import sys
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service import app as application
from service.observe.metrics import Call, clock
from service.observe.tracing import Tracer
from service.settings import Settings, SettingsError
from tests.service.faults import Panic

STAGES = {"tokenize": "compute_input", "queue": "queue", "infer": "compute_infer", "postprocess": "compute_output"}


def test_body_header_histograms_and_statistics_agree(client: TestClient) -> None:
    """Stage by stage, summed over requests of every dialect, to the rounding of each."""
    inputs = [{"inputs": "the film"}, {"inputs": ["a dull song", "very good"]}, {"inputs": "the town " * 20}]
    bodies = [client.post("/v1/classify", json=asked).json()["timings"] for asked in inputs]
    header = client.post("/", json={"inputs": "the film"}).headers["server-timing"]
    names = {"tok": "tokenize", "queue": "queue", "infer": "infer", "post": "postprocess", "total": "total"}
    parts = (part.split(";dur=") for part in header.split(", "))
    bodies.append({names[name]: float(value) for name, value in parts})
    metrics = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if not line.startswith("#"))
    stats = client.get("/v2/models/mood/stats").json()["model_stats"][0]
    labels = f'{{model="mood",version="{stats["version"]}"}}'
    for stage, name in {**STAGES, "total": "success"}.items():
        milliseconds = sum(body[stage] for body in bodies)
        metric = "request" if stage == "total" else stage
        assert stats["inference_stats"][name]["count"] == 4
        assert float(metrics[f"pgb_{metric}_duration_seconds_count{labels}"]) == 4
        assert stats["inference_stats"][name]["ns"] / 1e6 == pytest.approx(milliseconds, abs=0.004)
        assert float(metrics[f"pgb_{metric}_duration_seconds_sum{labels}"]) * 1e3 == pytest.approx(
            milliseconds, abs=0.004
        )
    assert stats["inference_count"] == 5


@pytest.mark.parametrize("fault", [ValueError("unforeseen"), Panic("unforeseen")])
def test_a_fault_of_the_service_is_a_failure_of_the_model_s_requests(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """In the statistics, as it is in the count of requests."""

    def failing(*_: object) -> None:
        raise fault

    monkeypatch.setattr("service.engine.ranked", failing)
    assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 500
    found = client.get("/v2/models/mood/stats").json()["model_stats"][0]["inference_stats"]
    assert (found["fail"]["count"], found["success"]["count"]) == (1, 0)
    assert 'pgb_faults_total{dialect="native",model="mood",status="500"} 1.0' in client.get("/metrics").text


def test_what_is_refused_before_it_runs_is_a_failure_and_no_inference(client: TestClient) -> None:
    """Whatever is wrong with a v2 request is found before the model runs."""
    texts = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["the film"]}
    wrong: list[dict[str, object]] = [
        {"inputs": [texts], "outputs": [{"name": "nope"}]},
        {"inputs": [texts], "outputs": [{"name": "scores", "parameters": {"classification": 0}}]},
        {"inputs": [texts], "outputs": [{"name": "label", "parameters": {"classification": 1}}]},
        {"inputs": []},
    ]
    for asked in wrong:
        assert client.post("/v2/models/mood/infer", json=asked).status_code == 400
    stats = client.get("/v2/models/mood/stats").json()["model_stats"][0]
    assert (stats["inference_count"], stats["execution_count"]) == (0, 0)
    assert stats["inference_stats"]["fail"]["count"] == len(wrong)
    assert stats["inference_stats"]["success"]["count"] == 0
    assert f'pgb_requests_total{{dialect="v2",model="mood",status="400"}} {len(wrong)}.0' in client.get("/metrics").text


def test_a_body_without_room_is_a_failure_of_the_model_that_its_path_names(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is a request that the queue has no room for."""
    monkeypatch.setattr("service.http.body.RESERVE", 1)  # so that nobody may hold much
    settings = Settings(
        artifacts=tuple(map(str, artifacts)), threads=1, max_body_bytes=20_000, max_pending_bytes=50_000
    )
    with TestClient(application.create_app(settings)) as client:
        assert client.post("/v1/models/mood/classify", json={"inputs": "the film"}).status_code == 429
        text = client.get("/metrics").text
        stats = client.get("/v2/models/mood/stats").json()["model_stats"][0]["inference_stats"]
    assert 'pgb_requests_total{dialect="native",model="mood",status="429"} 1.0' in text
    assert 'pgb_rejections_total{reason="bytes"} 1.0' in text
    assert stats["fail"]["count"] == 1


def test_nobody_else_s_telemetry_sees_a_request(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a provider is set up for the whole process; ours is set up by `otlp_endpoint` alone."""
    asked: list[str] = []
    for module, name in ((trace, "get_tracer_provider"), (metrics, "get_meter_provider")):
        monkeypatch.setattr(module, name, lambda name=name: asked.append(name))
    assert client.post("/v1/classify", json={"inputs": 7}).status_code == 422
    assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200
    assert asked == []


def test_the_first_bucket_is_a_tenth_of_a_millisecond(client: TestClient) -> None:
    """Pruned encoders answer faster than usual buckets can tell."""
    client.post("/v1/classify", json={"inputs": "the film"})
    assert 'pgb_infer_duration_seconds_bucket{le="0.0001"' in client.get("/metrics").text


def test_spans_tell_the_same_stages_and_link_to_the_batch(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request's span lies in the caller's trace, has its stages as children, and links to its batch."""
    kept = InMemorySpanExporter()
    monkeypatch.setattr(application, "Tracer", lambda endpoint: Tracer(endpoint, kept))
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1, otlp_endpoint="http://nowhere")
    with TestClient(application.create_app(settings)) as client:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        body = client.post("/v1/classify", json={"inputs": "the film"}, headers={"traceparent": parent}).json()
    spans = {span.name: span for span in kept.get_finished_spans()}
    request = spans["POST /v1/classify"]
    assert f"{request.context.trace_id:032x}" == parent.split("-")[1]
    assert [link.context.span_id for link in request.links] == [spans["batch"].context.span_id]
    for stage in STAGES:
        span = spans[stage]
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert span.end_time is not None
        assert span.start_time is not None
        assert (span.end_time - span.start_time) / 1e6 == pytest.approx(body["timings"][stage], abs=0.002)


def test_a_fault_of_the_service_is_an_error_and_others_are_not() -> None:
    """By its status, or where a dialect gives a fault another one."""
    kept = InMemorySpanExporter()
    tracer = Tracer("http://nowhere", kept)
    for fault, status in ((False, 200), (False, 422), (False, 503), (True, 424)):
        tracer.request(Call("1", fault=fault), {}, "POST /", status)
    asyncio.run(tracer.close())
    assert [span.status.status_code.name for span in kept.get_finished_spans()] == ["UNSET", "UNSET", "ERROR", "ERROR"]


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "pgb-serve"),
        ({"OTEL_SERVICE_NAME": "search"}, "search"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=search,team=a"}, "search"),
    ],
)
def test_the_environment_may_name_the_service(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everywhere else in OpenTelemetry."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    kept = InMemorySpanExporter()
    tracer = Tracer("http://nowhere", kept)
    tracer.batch("mood", 1, 8, 0.0, 1.0)
    asyncio.run(tracer.close())
    (span,) = kept.get_finished_spans()
    assert span.resource.attributes["service.name"] == name


def test_spans_follow_a_wall_clock_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines set it once they have a network."""
    kept = InMemorySpanExporter()
    tracer = Tracer("http://nowhere", kept)
    now, hour = time.time(), 3600.0
    monkeypatch.setattr("service.observe.tracing.time.time", lambda: now + hour)
    tracer.batch("mood", 1, 8, clock(), clock())
    asyncio.run(tracer.close())
    (span,) = kept.get_finished_spans()
    assert span.start_time == pytest.approx(1e9 * (now + hour), abs=10e9)


def test_an_endpoint_for_traces_needs_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is refused by name, with what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(SettingsError, match=r"otlp_endpoint: OpenTelemetry is not installed; pip install"):
        application.create_app(Settings(otlp_endpoint="http://nowhere"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100", "max_export_batch_size"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be"),
    ],
)
def test_a_wrong_variable_of_opentelemetry_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """As a wrong setting of the service is."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^environment: OpenTelemetry refuses one of its variables.*{said}"):
        application.create_app(Settings(otlp_endpoint="http://nowhere"))


def test_a_collector_that_does_not_answer_holds_nothing_up() -> None:
    """Stopping gives it up after a moment, and the event loop runs meanwhile."""
    freed = threading.Event()

    class Stuck(InMemorySpanExporter):
        def export(self, *_: object) -> SpanExportResult:
            """Never ends by itself."""
            freed.wait(20)
            return SpanExportResult.FAILURE

    async def scenario() -> tuple[float, int]:
        tracer = Tracer("http://nowhere", Stuck())
        tracer.batch("mood", 1, 8, 0.0, 1.0)
        begun, turns = time.monotonic(), 0
        closing = asyncio.create_task(tracer.close())
        while not closing.done():
            await asyncio.sleep(0.05)
            turns += 1
        return time.monotonic() - begun, turns

    try:
        seconds, turns = asyncio.run(scenario())
    finally:
        freed.set()
    assert seconds < 5
    assert turns > 5
