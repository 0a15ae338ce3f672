"""The log, whose reader may be slow, or gone."""

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.observe import logs
from service.observe.metrics import Call
from service.observe.tracing import Tracer
from tests.served import free_port
from tests.service.hostile import MARK


class Stalled(io.StringIO):
    """A stream that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        """Blocks."""
        assert self.go.wait(20)
        return super().write(text)


def record(number: int) -> logging.LogRecord:
    """A line that tells its number."""
    return logging.LogRecord("pgb", logging.INFO, "", 0, f"line {number}", (), None)


def test_whoever_logs_never_waits_for_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is no room for is dropped and counted; the rest comes in order once the reader goes on."""
    monkeypatch.setattr(logs, "_MOST_LINES", 50)
    stream = Stalled()
    writer = logs.Writer(stream)
    writer.emit(record(0))
    time.sleep(0.2)  # the thread has taken it, and waits
    for number in range(1, 200):
        writer.emit(record(number))
    assert writer.dropped == 149
    assert not writer.drained(0.01)
    stream.go.set()
    assert writer.drained(20)
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(51)]


def test_a_stream_that_fails_ends_nothing() -> None:
    """Lines that could not be written are counted, too."""
    stream = io.StringIO()
    writer = logs.Writer(stream)
    stream.close()
    writer.emit(record(0))
    assert writer.drained(20)
    assert writer.dropped == 1


def test_a_reader_that_stops_freezes_nothing(artifacts: tuple[Path, Path]) -> None:
    """Nobody reads standard error of a process that logs more than a pipe holds: it answers on, and ends when told."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "service", str(artifacts[0]), "--port", str(port), "--drain-seconds", "0"]
    reader, end = os.pipe()
    process = subprocess.Popen(command, stderr=end, stdout=subprocess.DEVNULL)
    os.close(end)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(timeout=20) as client:
            for _ in range(600):
                try:
                    if client.get(f"{url}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.05)
            name = {"X-Request-Id": "x" * 128}
            for _ in range(400):  # 64 kB of lines fill the pipe
                assert client.post(f"{url}/v1/classify", json={"inputs": "the film"}, headers=name).status_code == 200
            assert client.get(f"{url}/v2/health/live").status_code == 200
            assert "pgb_log_dropped_total 0.0" in client.get(f"{url}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The log of a serving process, on a stream; the loggers are put back afterwards."""
    loggers = [logging.getLogger(name) for name in ("pgb", *logs._LIBRARIES)]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up("info")
    try:
        yield stream
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def test_what_libraries_log_is_of_the_log(set_up: io.StringIO) -> None:
    """One line of JSON each, by the log's own thread."""
    for name in logs._LIBRARIES:
        logging.getLogger(f"{name}.inside").error("it fails")
    logs.drain(20)
    lines = [json.loads(line) for line in set_up.getvalue().splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [("error", "it fails")] * len(logs._LIBRARIES)


def test_no_library_is_louder_than_the_log(set_up: io.StringIO) -> None:
    """Its warnings are not shown where only errors are to be."""
    logs.set_up("error")
    for name in logs._LIBRARIES:
        logging.getLogger(f"{name}.inside").warning("it is odd")
    logs.drain(20)
    assert set_up.getvalue() == ""


def test_nothing_of_a_trace_s_headers_is_logged(set_up: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with them; a request goes on without its caller's trace."""
    tracer = Tracer("http://nowhere", InMemorySpanExporter())
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for headers in (
        {"baggage": f"{MARK}=\xe9"},
        {"baggage": f"{MARK}={'a' * 9000}"},
        {"baggage": MARK},
        {"traceparent": MARK * 90},
        {"traceparent": good, "tracestate": f"{MARK}={MARK}=="},
        {"traceparent": good, "tracestate": f"{MARK}=\xe9"},
    ):
        tracer.request(Call("a"), headers, "GET /", 200)
    asyncio.run(tracer.close())
    logs.drain(20)
    assert set_up.getvalue() + caplog.text == ""


def test_failures_are_logged_at_their_level(tmp_path: Path) -> None:
    """So that a filter on errors sees a model that does not load."""
    command = [sys.executable, "-P", "-m", "service", str(tmp_path), "--port", str(free_port()), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [line["message"] for line in lines if line["level"] == "error"] == ["loading failed"]
