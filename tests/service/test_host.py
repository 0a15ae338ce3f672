"""What holds under whatever server runs the application."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from service import host
from service.__main__ import _warn_of_threads
from service.app import create_app
from service.observe import logs
from service.settings import Settings


def batching() -> set[threading.Thread]:
    """Threads that take batches."""
    return {thread for thread in threading.enumerate() if thread.name == "pgb-batch"}


def test_a_lone_request_wakes_no_thread(client: TestClient) -> None:
    """It is counted where it arrives, and not by one server."""
    before = batching()
    for _ in range(3):
        assert client.post("/v1/classify", json={"inputs": "the film"}).json()["batch_size"] == 1
    assert batching() == before


def test_requests_that_come_in_the_same_turn_are_batched(artifacts: tuple[Path, Path]) -> None:
    """None of them takes itself for the only one."""
    app = create_app(Settings(artifacts=(str(artifacts[0]),), threads=1))

    async def scenario() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as c:
            asked = [c.post("/v1/classify", json={"inputs": "the film"}) for _ in range(8)]
            return [reply.json()["batch_size"] for reply in await asyncio.gather(*asked)]

    assert max(asyncio.run(scenario())) > 1
    assert app.state.engine.in_flight == 0


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process, left as it was."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "")  # so that it is put back
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    monkeypatch.setattr(logs, "set_up", lambda level: None)
    interval, threshold, files = sys.getswitchinterval(), gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.unfreeze()
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


@pytest.mark.usefixtures("process")
def test_a_process_is_tuned_by_making_the_application() -> None:
    """So that a replica of Ray is tuned as a process of our own is."""
    host.application(Settings())
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert sys.getswitchinterval() < 0.001
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] > 10_000


def test_more_threads_than_cores_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """They would only wait for each other."""
    monkeypatch.setattr("service.__main__.usable_cores", lambda: 2)
    _warn_of_threads(Settings(threads=2))
    assert not caplog.records
    _warn_of_threads(Settings(threads=3))
    (said,) = caplog.records
    assert said.fields == {"threads": 3, "cores": 2}  # type: ignore[attr-defined]


@pytest.mark.usefixtures("process")
def test_connections_are_bounded_by_the_files_that_may_be_open() -> None:
    """Where the system gives fewer than the setting asks for."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    limited = host.protocol(Settings(max_connections=150, max_header_bytes=2048, max_body_seconds=3.0))
    assert (limited.max_connections, limited.max_head_bytes, limited.head_seconds) == (150, 2048, 3.0)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 214


def test_connections_that_the_files_do_not_allow_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or a setting would count in part, and nobody would know."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (300, 300))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert host.protocol(Settings(max_connections=236)).max_connections == 236
    assert not caplog.records
    assert host.protocol(Settings(max_connections=237)).max_connections == 236
    (said,) = caplog.records
    assert said.fields == {"max_connections": 237, "connections": 236}  # type: ignore[attr-defined]
