"""Triton's load tool `perf_analyzer`, where it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DATA = {
    "mood": [{"text": ["the film was very good"]}, {"text": ["a dull song"]}],
    "who": [
        {"question": ["who sang"], "context": ["the town sang a song"]},
        {"question": ["where it began"], "context": ["the film began where the town was"]},
    ],
}
BINARY = ("--concurrency-range", "4")
JSON = ("-b", "8", "--input-tensor-format", "json", "--output-tensor-format", "json")


@pytest.fixture(scope="session")
def binary() -> str:
    """The program, if it is here and starts."""
    found = shutil.which(os.environ.get("PERF_ANALYZER", "perf_analyzer"))
    if found is None:
        pytest.skip("perf_analyzer is not on the path; PERF_ANALYZER may name it")
    started = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    if started.returncode:
        pytest.skip(f"perf_analyzer does not start: {started.stderr.strip()}")
    return found


@pytest.mark.parametrize("options", [BINARY, JSON], ids=["binary", "json"])
@pytest.mark.parametrize("model", ["mood", "who"])
def test_a_load_test_runs_through(binary: str, url: str, tmp_path: Path, model: str, options: tuple[str, ...]) -> None:
    """Every request succeeds, and the tool finds the server's own statistics of this version."""
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"data": DATA[model]}))
    address = ("-i", "http", "-u", url.removeprefix("http://"))
    command = [binary, "-m", model, *address, "--input-data", data, "--request-count", "50", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    client, server = done.stdout.split("Server:")
    assert re.search(r"Request count: 50\b", client), done.stdout
    counted = re.search(r"Successful request count: (\d+)", server)
    assert counted, done.stdout
    assert 0 < int(counted[1]) <= 50
    assert re.search(r"compute infer [1-9]\d* usec", server), done.stdout
