"""Several processes on one machine behind nginx, as deploy/machine has them."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from service.settings import Settings, read_settings
from tests.served import free_port, serving

FOLDER = Path(__file__).parents[2] / "deploy" / "machine"


def port_of(url: str) -> int:
    """Of a process."""
    return int(url.rpartition(":")[2])


@contextmanager
def balanced(ports: tuple[int, int], folder: Path) -> Iterator[str]:
    """The address of an nginx before two ports."""
    nginx = shutil.which("nginx") or os.environ.get("NGINX")
    if nginx is None:
        pytest.skip("nginx is not installed")
    own = free_port()
    text = (FOLDER / "nginx.conf").read_text()
    for before, after in (("8000", own), ("8001", ports[0]), ("8002", ports[1])):
        text = re.sub(rf"\b{before}\b", str(after), text)
    (folder / "nginx.conf").write_text(text)
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", "daemon off;"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{own}"
        for _ in range(100):
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def test_nginx_and_the_processes_have_the_same_bounds() -> None:
    """Of a body, and of the time of a request."""
    text = (FOLDER / "nginx.conf").read_text()
    unit = (FOLDER / "pgb-serve@.service").read_text()
    (largest,) = re.findall(r"PGB_MAX_BODY_BYTES=(\d+)", unit)
    sizes = dict(re.findall(r"client_(max_body|body_buffer)_size (\d+)m;", text))
    assert {name: int(size) << 20 for name, size in sizes.items()} == dict.fromkeys(sizes, int(largest))
    assert len(sizes) == 2
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", text)
    assert int(seconds) > Settings.model_fields["max_request_seconds"].default


def test_no_path_that_a_process_takes_for_its_metrics_goes_through_nginx() -> None:
    """Also one with something behind it that the process may not count."""
    patterns = re.findall(r"location ~ (\S+) \{ return 404; \}", (FOLDER / "nginx.conf").read_text())
    for path in ("/metrics", "/metrics\n", "/metrics/", "/v1/models/a/load\n", "/v2/repository/index"):
        assert any(re.search(pattern, path) for pattern in patterns), path


def reached(statuses: list[int], count: int) -> None:
    """Wait until so many requests were answered."""
    end = time.monotonic() + 60
    while len(statuses) < count:
        assert time.monotonic() < end, f"{len(statuses)} answers of {count} within a minute"
        time.sleep(0.01)


@contextmanager
def asked(url: str, clients: int = 4) -> Iterator[tuple[list[int], list[httpx.RemoteProtocolError]]]:
    """Clients that ask again and again while inside: the statuses of their answers, and the answers cut short."""
    statuses: list[int] = []
    halves: list[httpx.RemoteProtocolError] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url) as client:
            while not over.is_set():
                try:
                    reply = client.post("/v1/classify", json={"inputs": "the song was good"})
                    statuses.append(reply.status_code)
                except httpx.RemoteProtocolError as error:
                    halves.append(error)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses, halves
    finally:
        over.set()
        for thread in threads:
            thread.join()


def counted(url: str, metric: str, status: int | None = None) -> bool:
    """Whether a process has counted any of these."""
    labels = r"\S*" if status is None else rf'\{{dialect="native",\S*status="{status}"\}}'
    return bool(re.search(rf"^{metric}{labels} [1-9]", httpx.get(f"{url}/metrics").text, re.MULTILINE))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_ends_and_its_work_is_done_by_another(
    number: signal.Signals, artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    """Both had a share; what one no longer takes, or took and did not answer, the other answers.

    Only an answer of which the killed process had sent the head is lost with it.
    """
    model = str(artifacts[0])
    with serving(model, "--threads", "1") as (first, process), serving(model, "--threads", "1") as (second, _):
        with balanced((port_of(first), port_of(second)), tmp_path) as url, asked(url) as (statuses, halves):
            reached(statuses, 100)
            assert all(counted(each, "pgb_inputs_total") for each in (first, second))
            process.send_signal(number)
            assert process.wait(20) == (0 if number == signal.SIGTERM else -number)
            reached(statuses, len(statuses) + 100)
        assert set(statuses) == {200}
        assert len(halves) <= (0 if number == signal.SIGTERM else 4)


@pytest.mark.slow
def test_a_process_that_starts_again_costs_nobody_an_answer(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """While it loads it answers 503 at once, so that nginx takes it for the one with least to do."""
    model = str(artifacts[0])
    with serving(model, "--threads", "1") as (first, process), serving(model, "--threads", "1") as (second, _):
        with balanced((port_of(first), port_of(second)), tmp_path) as url, asked(url) as (statuses, halves):
            reached(statuses, 20)
            process.terminate()
            assert process.wait(20) == 0
            with again(model, port_of(first)):
                reached(statuses, len(statuses) + 100)
                assert counted(first, "pgb_requests_total", 503)
                assert counted(first, "pgb_inputs_total")
        assert (set(statuses), halves) == ({200}, [])


@contextmanager
def again(model: str, port: int) -> Iterator[None]:
    """A process of the service on a port that another has left, once its model is loaded."""
    command = [sys.executable, "-P", "-m", "service", model, "--threads", "1", "--port", str(port)]
    process = subprocess.Popen([*command, "--drain-seconds", "0"], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            assert time.monotonic() < end, "the process did not become ready within a minute"
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_what_no_process_can_answer_is_answered_by_a_process_each_time(tmp_path: Path) -> None:
    """None is left out for having answered 503: nginx would answer everyone with its own 502."""

    class Loading(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503, "the models are being loaded")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Loading) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with balanced((port, port), tmp_path) as url:
            replies = [httpx.get(f"{url}/health") for _ in range(4)]
        server.shutdown()
    assert {reply.status_code for reply in replies} == {503}
    assert all("the models are being loaded" in reply.text for reply in replies)


def test_what_concerns_one_process_is_not_asked_of_the_balancer(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Figures would be those of whoever answers, and a model would be loaded by one of two."""
    with (
        serving(str(artifacts[0]), "--threads", "1") as (served, _),
        balanced((port_of(served), port_of(served)), tmp_path) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert client.get("/v1/models").status_code == 200
        for method, path in (
            ("GET", "/metrics"),
            ("GET", "/metrics%0A"),
            ("POST", "/v1/models/mood/load"),
            ("POST", "/v2/repository/models/mood/load"),
        ):
            reply = client.request(method, path)
            assert (reply.status_code, "nginx" in reply.text) == (404, True)


def unit() -> configparser.ConfigParser:
    """The unit, by section and name."""
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(FOLDER / "pgb-serve@.service")
    return found


def test_systemd_starts_a_process_again_however_often_it_ends() -> None:
    """By default the fifth time within ten seconds is the last; and what the models lie on is mounted first."""
    assert unit()["Service"]["Restart"] == "always"
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"
    (models,) = re.findall(r"PGB_MODELS_DIR=(\S+)", unit()["Service"]["Environment"])
    assert unit()["Unit"]["RequiresMountsFor"] == models


def test_the_unit_gives_settings_that_the_service_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """And longer to stop than the service needs."""
    service = unit()["Service"]
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PGB_{name.upper()}", raising=False)
    for assignment in shlex.split(service["Environment"].replace("%i", "8001")):
        monkeypatch.setenv(*assignment.split("=", 1))
    found = read_settings([])
    assert (found.port, found.threads) == (8001, 1)
    assert float(service["TimeoutStopSec"]) > found.drain_seconds + found.stop_seconds
