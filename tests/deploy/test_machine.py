"""Several processes on one machine behind nginx, as deploy/machine has them."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.settings import Settings, read_settings
from tests.served import free_port, serving

FOLDER = Path(__file__).parents[2] / "deploy" / "machine"


@contextmanager
def balanced(ports: tuple[int, int], folder: Path) -> Iterator[str]:
    """The address of an nginx before two ports."""
    nginx = shutil.which("nginx") or os.environ.get("NGINX")
    if nginx is None:
        pytest.skip("nginx is not installed")
    own = free_port()
    text = (FOLDER / "nginx.conf").read_text()
    for before, after in (("8000", own), ("8001", ports[0]), ("8002", ports[1])):
        text = re.sub(rf"\b{before};", f"{after};", text)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_ends_and_its_work_is_done_by_another(
    number: signal.Signals, artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    """Both had a share; what one no longer takes, or took and did not answer, the other answers.

    Only an answer of which the killed process had sent the head is lost with it.
    """
    model = str(artifacts[0])
    with serving(model, "--threads", "1") as (first, process), serving(model, "--threads", "1") as (second, _):
        ports = tuple(int(url.rpartition(":")[2]) for url in (first, second))
        with balanced((ports[0], ports[1]), tmp_path) as url:
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

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            reached(statuses, 100)
            counts = [httpx.get(f"{each}/metrics").text for each in (first, second)]
            assert all(re.search(r"^pgb_inputs_total\S* [1-9]", text, re.MULTILINE) for text in counts)
            process.send_signal(number)
            assert process.wait(20) == (0 if number == signal.SIGTERM else -number)
            reached(statuses, len(statuses) + 100)
            over.set()
            for thread in threads:
                thread.join()
            assert set(statuses) == {200}
            assert len(halves) <= (0 if number == signal.SIGTERM else len(threads))


def test_what_concerns_one_process_is_not_asked_of_the_balancer(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Figures would be those of whoever answers, and a model would be loaded by one of two."""
    with serving(str(artifacts[0]), "--threads", "1") as (served, _):
        port = int(served.rpartition(":")[2])
        with balanced((port, port), tmp_path) as url, httpx.Client(base_url=url) as client:
            assert client.get("/v1/models").status_code == 200
            for method, path in (
                ("GET", "/metrics"),
                ("GET", "/metrics%0A"),
                ("POST", "/v1/models/mood/load"),
                ("POST", "/v2/repository/models/mood/load"),
            ):
                reply = client.request(method, path)
                assert (reply.status_code, "nginx" in reply.text) == (404, True)


def test_the_unit_gives_settings_that_the_service_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """And longer to stop than the service needs."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "pgb-serve@.service")
    service = unit["Service"]
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PGB_{name.upper()}", raising=False)
    for assignment in shlex.split(service["Environment"].replace("%i", "8001")):
        monkeypatch.setenv(*assignment.split("=", 1))
    found = read_settings([])
    assert (found.port, found.threads) == (8001, 1)
    assert float(service["TimeoutStopSec"]) > found.drain_seconds + found.stop_seconds
