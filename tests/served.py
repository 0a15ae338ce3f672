"""Served models, small, random, and as real as any; and a real process that serves them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pgb_core.config import CompressConfig
from pgb_core.export import write
from pgb_core.pipeline import compress
from tests.core.small import WORDS, checkpoint
from tests.made import indulgent, rewritten

_START_SECONDS = 60
_STOP_SECONDS = 20


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A classifier named `mood`, in fp32 and int8, and a QA model named `who`, in fp32.

    The classifier's int8 is said to lose much, so that auto serves fp32 and answers are the same each time.
    """
    folder = tmp_path_factory.mktemp("served")
    lines = folder / "lines.txt"
    lines.write_text("\n".join(f"the {a} was {b}" for a in WORDS for b in WORDS[:3]))
    squad = folder / "squad.json"
    squad.write_text(
        '{"data": [{"paragraphs": [{"context": "the town sang a song",'
        ' "qas": [{"id": "1", "question": "who sang"}]}]}]}'
    )
    made = []
    for name, task, data, forms in (("mood", "classification", lines, "fp32,int8"), ("who", "qa", squad, "fp32")):
        model = checkpoint(folder / f"{name}-model", "bert", task)
        place = {"checkpoint": str(model), "out": str(folder / name), "calibrate": str(data)}
        config = CompressConfig(**place, keep=0.5, epochs=0, passes=1, structure="shared", forms=forms)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(write, "form_of", indulgent)
            artifact = compress(config)
        records = dict(artifact.manifest.forms)
        if "int8" in records:
            records["int8"] = replace(records["int8"], measured={"inputs": 50, "equal_answers": 0.6})
        made.append(rewritten(artifact, artifact.path, {}, forms=records).path)
    return made[0], made[1]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(
    *args: str | Path,
    module: str = "service",
    env: Mapping[str, str] | None = None,
    wait: bool = True,
    log_file: Path | None = None,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`python -m MODULE ARGS` on a free port: its URL and process, once it is ready. Stopped afterwards.

    Of the PGB_ variables it gets those in `env`; it drains at once unless told otherwise.
    """
    port = free_port()
    command = [sys.executable, "-m", module, *map(str, args), "--port", str(port)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PGB_")}
    url = f"http://127.0.0.1:{port}"
    with (
        log_file.open("w+b") if log_file else tempfile.TemporaryFile() as log
    ):  # a pipe that nobody reads would fill and block the log
        process = subprocess.Popen(command, stderr=log, env={**kept, "PGB_DRAIN_SECONDS": "0", **(env or {})})
        try:
            if wait and not _ready(url, process):
                log.seek(0)
                pytest.fail(f"the server did not become ready:\n{log.read().decode(errors='replace')}")
            yield url, process
            if process.poll() is None:
                process.terminate()
                process.wait(_STOP_SECONDS)
        finally:
            process.kill()
            process.wait()


@contextmanager
def traffic(url: str, bodies: Sequence[object], pause: float = 0.0) -> Iterator[None]:
    """A client for each body, which asks to classify it again and again, `pause` seconds apart, while inside."""
    stop = threading.Event()

    def client(body: object) -> None:
        with httpx.Client(timeout=30) as session:
            while not stop.wait(pause):
                session.post(f"{url}/v1/classify", json=body)

    threads = [threading.Thread(target=client, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether /health answers 200 before the process ends or the time is over."""
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    return False
