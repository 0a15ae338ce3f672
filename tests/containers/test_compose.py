"""The stack, as the compose file describes it, with models that are ready in place of the job that makes them."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.engine import EngineError
from tests.containers.test_rules import queries, rules, shown
from tests.served import free_port

Docker = Callable[..., str]
# As the job does, it keeps what is there already.
COPY = """
import os, shutil
for name in {'mood', 'who'} - set(os.listdir('/models')):
    shutil.copytree(f'/ready/{name}', f'/models/{name}')
"""


@dataclass(frozen=True)
class Stack:
    """A project of compose, and where its ports are."""

    name: str
    docker: Docker
    files: tuple[str, ...]
    env: Mapping[str, str]

    def compose(self, *args: str) -> str:
        """What `docker compose ARGS` prints."""
        return self.docker("compose", "-p", self.name, *self.files, *args, env=self.env)

    def inspect(self, service: str) -> dict[str, Any]:
        """The container of a service."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", self.compose("ps", "-aq", service)))
        return found[0]

    def get(self, port: str, path: str, body: object = None) -> Any:
        """The JSON that a service answers with."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.env[port]}{path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, data, {"content-type": "application/json"}),
            timeout=30,
        ) as reply:
            return json.load(reply)

    def query(self, expression: str) -> list[Any]:
        """What Prometheus finds."""
        answer = self.get("PROMETHEUS_PORT", "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        found: list[Any] = answer["data"]["result"]
        return found


@contextmanager
def stack(name: str, docker: Docker, folder: Path, job: dict[str, Any], images: Mapping[str, str]) -> Iterator[Stack]:
    """The compose file with other images and another job; everything of it is removed afterwards."""
    services: dict[str, Any] = {service: {"image": image} for service, image in images.items()}
    override = folder / f"{name}.yml"
    override.write_text(yaml.safe_dump({"services": {**services, "job": {"image": images["service"], **job}}}))
    ports = {port: str(free_port()) for port in ("SERVICE_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
    found = Stack(name, docker, ("-f", "docker-compose.yml", "-f", str(override)), ports)
    try:
        yield found
    finally:
        found.compose("--profile", "load", "down", "--volumes", "--timeout", "1")


@pytest.fixture(scope="module")
def running(
    docker: Docker,
    image: str,
    prometheus_image: str,
    k6_image: str,
    artifacts: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Service and Prometheus, both healthy, with some traffic scraped."""
    job = {
        "entrypoint": ["python", "-c", COPY],
        "command": [],
        "volumes": [f"{path}:/ready/{name}:ro" for name, path in zip(("mood", "who"), artifacts, strict=True)],
    }
    images = {"service": image, "prometheus": prometheus_image, "load": k6_image}
    with stack("pgb-test", docker, tmp_path_factory.mktemp("compose"), job, images) as found:
        found.compose("up", "--detach", "--wait", "--pull=never", "service", "prometheus")
        yield found


def test_the_service_starts_with_what_the_job_made(running: Stack) -> None:
    """When the job has ended well; the volume is the only thing that passes between them."""
    assert running.inspect("job")["State"]["ExitCode"] == 0
    assert running.get("SERVICE_PORT", "/v1/classify", {"inputs": "the town sang a song"})["results"]
    assert {model["name"] for model in running.get("SERVICE_PORT", "/health")["models"]} == {"mood", "who"}


def test_the_engine_holds_every_limit(running: Stack) -> None:
    """As the file states them, and as the engine took them."""
    for name in ("job", "service", "prometheus"):
        host = running.inspect(name)["HostConfig"]
        assert host["Memory"] == host["MemorySwap"] > 0
        assert host["PidsLimit"] > 0
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["ReadonlyRootfs"] is True
    assert running.inspect("job")["HostConfig"]["NetworkMode"] == "none"
    models = next(m for m in running.inspect("service")["Mounts"] if m["Destination"] == "/models")
    assert models["RW"] is False


def test_prometheus_scrapes_the_service_and_follows_the_rules(running: Stack) -> None:
    """What was asked is counted there, and every rule could be evaluated."""
    for _ in range(3):
        running.get("SERVICE_PORT", "/v1/classify", {"model": "mood", "inputs": "the town sang a song"})
    until = time.monotonic() + 40
    counted = 'sum(pgb_request_duration_seconds_count{model="mood"}) >= 3 and on() sum(up{job="pgb"}) == 1'
    while not running.query(counted) and time.monotonic() < until:
        time.sleep(0.5)
    assert running.query(counted)
    groups = running.get("PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
    loaded = [rule for group in groups for rule in group["rules"]]
    assert len(loaded) == len(rules())
    while any(rule["health"] == "unknown" for rule in loaded) and time.monotonic() < until:
        time.sleep(0.5)
        groups = running.get("PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
        loaded = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in loaded} == {"ok"}
    assert not [rule["name"] for rule in loaded if rule["type"] == "alerting" and rule["state"] == "firing"]


def test_a_load_test_runs_beside_it_and_fills_the_dashboard(running: Stack) -> None:
    """From the profile, for a few seconds; then every panel's queries are understood, and latency has points."""
    env = {**running.env, "RATE": "5", "DURATION": "8"}
    loaded = Stack(running.name, running.docker, running.files, env)
    loaded.compose("--profile", "load", "run", "--rm", "load")
    time.sleep(6)  # a scrape
    asked = [shown(query, "1m") for query in queries()]
    filled = {query for query in asked if running.query(query)}
    assert {query for query in asked if "duration_seconds" in query or "pgb_requests_total" in query} <= filled


def test_a_job_that_fails_starts_no_service(docker: Docker, image: str, tmp_path: Path) -> None:
    """Nothing is served rather than something unchecked."""
    job = {"entrypoint": ["python", "-c", "raise SystemExit(3)"], "command": []}
    with stack("pgb-test-failed", docker, tmp_path, job, {"service": image}) as found:
        with pytest.raises(EngineError, match="didn't complete successfully: exit 3"):
            found.compose("up", "--detach", "--pull=never", "service")
        assert found.inspect("service")["State"]["Status"] == "created"
