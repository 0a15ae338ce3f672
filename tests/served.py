"""Served models, small, random, and as real as any; and a real process that serves them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from benchmarks.service.process import free_port as free_port
from benchmarks.service.process import launched
from pgb_core.config import CompressConfig
from pgb_core.export import write
from pgb_core.pipeline import compress
from tests.core.small import WORDS, checkpoint
from tests.made import indulgent, rewritten


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
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PGB_")}
    environment = {**kept, "PGB_DRAIN_SECONDS": "0", **(env or {})}
    with launched([sys.executable, "-m", module, *map(str, args)], environment, wait=wait, log=log_file) as found:
        yield found.url, found.process


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
