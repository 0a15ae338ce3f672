"""Two services beside a real Prometheus: every alert fires for the one that is ill, and none for the other."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.alerts.page import DASHBOARD, asked, legend
from benchmarks.alerts.prometheus import RULES, SHORTER, Prometheus, Target, prometheus, shortened
from service.observe.instruments import Instruments
from tests.served import free_port, serving

ALERTS = set(re.findall(r"alert: (\w+)", RULES.read_text()))
# At once where the rules wait, since all of it is caused at once.
AT_ONCE = re.sub(r"for: \d+s", "for: 0s", shortened(RULES.read_text()))


def measured(ill: bool) -> Callable[[], str]:
    """The text of a service's metrics, which goes on at each scrape; one that is ill does everything wrong."""
    instruments = Instruments()
    instruments.watch(lambda: [("m", "1", 0.0, 0.0, {})])
    instruments.load_seconds.labels("m", "1").set(1)
    started = iter(range(1, 10_000))

    def scrape() -> str:
        took = 1.5 if ill else 0.01
        for histogram in (instruments.request, *instruments.stages.values()):
            histogram.labels("m", "1").observe(took)
        instruments.requests.labels("native", "m", 500 if ill else 200).inc(1 if ill else 1000)
        instruments.requests.labels("probe", "", 503).inc()
        instruments.faults.labels("probe", "", 503).inc()
        if ill:
            instruments.faults.labels("native", "m", 500).inc()
            instruments.rejections.labels("overloaded").inc()
            instruments.batch_failures.labels("m", "1").inc()
            instruments.events.labels("m", "failure").inc()
            instruments.draining.set(1)
        text = instruments.text().decode()
        begun = f"process_start_time_seconds {next(started)}" if ill else "process_start_time_seconds 1"
        return re.sub(r"^process_start_time_seconds .*$", begun, text, flags=re.MULTILINE)

    return scrape


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with both services, and an instance of the first that is gone."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    servers = [_server(measured(ill)) for ill in (True, False)]
    ports = [server.server_address[1] for server in servers]
    targets = [Target(f"127.0.0.1:{port}", "ml", name) for port, name in zip(ports, ("ill", "well"), strict=True)]
    targets.append(Target(f"127.0.0.1:{free_port()}", "ml", "ill"))
    try:
        with prometheus(tmp_path_factory.mktemp("prometheus"), targets, free_port(), AT_ONCE) as running:
            yield running
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def test_every_alert_fires_for_the_service_that_is_ill(watched: Prometheus) -> None:
    """And none for the one beside it, which has a thousand times as much to do."""
    until = time.monotonic() + 60
    while len(watched.firing()) < len(ALERTS) and time.monotonic() < until:
        time.sleep(0.2)
    assert watched.firing() == {(alert, "ml/ill") for alert in ALERTS}


def test_every_figure_is_made_for_each_service(watched: Prometheus) -> None:
    """By its own name; errors of one are no share of the other's."""
    until = time.monotonic() + 30
    while len(watched.query("pgb:errors:ratio_rate5m")) < 1 and time.monotonic() < until:
        time.sleep(0.2)
    (errors,) = watched.query("pgb:errors:ratio_rate5m")
    assert (errors["metric"]["service"], float(errors["value"][1])) == ("ill", 1.0)
    p99 = {one["metric"]["service"]: float(one["value"][1]) for one in watched.query("pgb:request_seconds:p99_5m")}
    assert p99["ill"] > 1 > 0.01 >= p99["well"]


@pytest.mark.parametrize("shown", DASHBOARD["panels"], ids=lambda shown: str(shown["title"]))
def test_a_panel_shows_the_service_that_was_chosen(shown: dict[str, object], watched: Prometheus) -> None:
    """Its queries are understood, its lines are named, and those of the other service are gone."""
    for target in shown["targets"]:  # type: ignore[attr-defined]
        for chosen, other in (("well", "ill"), ("ill", "well")):
            for series in watched.query(asked(target["expr"], "10s", chosen)):
                named = legend(target["legendFormat"], series["metric"])
                assert f"ml/{chosen}" in named
                assert other not in named


def test_a_process_that_was_told_to_stop_and_takes_no_connections_is_told_of(
    artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    """It is not scraped any more, because of a request whose body never ends."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    times = ("--drain-seconds=3", "--stop-seconds=120", "--max-body-seconds=120")
    with serving(artifacts[0], "--threads=1", *times) as (url, process):
        address = url.removeprefix("http://")
        targets = [Target(address, "ml", "ill")]
        with (
            prometheus(tmp_path, targets, free_port(), shortened(RULES.read_text())) as running,
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as held,
        ):
            held.sendall(b"POST /v1/classify HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\n{")
            _until(lambda: running.query("pgb_open_requests > 1"))
            process.terminate()
            _until(lambda: ("PgbDrainStuck", "ml/ill") in running.firing())
            assert running.query("up == 0")
        process.kill()


def test_no_time_of_the_rules_is_left_as_it_was() -> None:
    """Or the alert that has it would take minutes to cause."""
    assert not re.search(r"\[\d+m\]|offset \d+m|for: \d+m", shortened(RULES.read_text()))
    assert all(long in RULES.read_text() for long in SHORTER)


def _until(done: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.2)


def _server(scrape: Callable[[], str]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = scrape().encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
