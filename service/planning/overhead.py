"""Measures what a request costs besides its batches, with a real server.

It is what the server takes of its core for requests of several shapes, less what one thread takes of its core for their
batches. Both are core seconds, in which waiting for a core does not count.
"""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from pgb_core.artifact import Artifact
from pgb_core.errors import ResourceError
from pgb_core.inference.batches import prepare_question, prepare_texts
from pgb_core.inference.tasks.qa import QA, Question, Windowing
from pgb_core.inference.tokenizer import Tokenizer
from service.planning.profile import Overhead, Times
from service.settings import PREFIX, Settings

_WORDS = "the town sang a song of its old river"
_SHAPES = ((1, 8), (1, 64), (8, 8), (8, 40))  # inputs, words of each
_CLIENTS = 4  # that ask at one time
_ASK_SECONDS = 1.5  # for each shape
_START_SECONDS = 300.0
_CPU = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)


def measure_overhead(artifact: Artifact, form: str, settings: Settings, single: Times) -> Overhead:
    """What requests cost besides their batches: a plane through the costs of a few shapes.

    single: times of batches on one thread. Raises ResourceError when the server does not start, or refuses.
    """
    manifest = artifact.manifest
    tokenizer = Tokenizer.open(artifact.tokenizer, manifest.max_length)
    rows, costs = [], []
    with _server(artifact.path, form, settings) as port:
        for inputs, words in _SHAPES:
            text = " ".join((_WORDS.split() * words)[:words])
            asked: list[Any]
            if manifest.task == QA.name:
                path, asked = "/v1/answer", [{"question": _WORDS, "context": text}] * inputs
                windows = prepare_question(tokenizer, Question(_WORDS, text), Windowing())
                lengths = [len(window.tokens) for window in windows]
            else:
                path, asked = "/v1/classify", [text] * inputs
                lengths = [len(tokens) for tokens in prepare_texts(tokenizer, [text])]
            taken, count, batches = _asked(port, path, json.dumps({"inputs": asked}).encode())
            width = round(statistics.mean(lengths))
            model = sum(times * single.seconds(size, width) for size, times in batches.items())
            rows.append((1.0, inputs, inputs * sum(lengths)))
            costs.append(max(0.0, taken - model) / count)
    plane = _plane(rows, costs)
    return Overhead(per_request=plane[0], per_input=plane[1], per_token=plane[2])


def _plane(rows: Sequence[Sequence[float]], costs: Sequence[float]) -> list[float]:
    """Coefficients of which none is negative: the least squares over every choice of them, and the best that fits."""
    table, wanted = np.array(rows), np.array(costs)
    best, least = [statistics.mean(costs), 0.0, 0.0], np.inf
    for chosen in ([0, 1, 2], [0, 1], [0, 2], [0]):
        solved = np.linalg.lstsq(table[:, chosen], wanted, rcond=None)[0]
        error = float(((table[:, chosen] @ solved - wanted) ** 2).sum())
        if (solved >= 0).all() and error < least:
            best, least = [0.0, 0.0, 0.0], error
            for place, value in zip(chosen, solved, strict=True):
                best[place] = float(value)
    return best


def _asked(port: int, path: str, body: bytes) -> tuple[float, int, dict[int, int]]:
    """Core seconds that the server took, requests that it answered, and its batches by rows."""
    _ask(port, path, body, 0.3)
    before, batches = _used(port)
    with ThreadPoolExecutor(_CLIENTS) as pool:
        asked = sum(pool.map(lambda _: _ask(port, path, body, _ASK_SECONDS), range(_CLIENTS)))
    after, later = _used(port)
    return after - before, asked, {size: count - batches.get(size, 0) for size, count in later.items()}


def _ask(port: int, path: str, body: bytes, seconds: float) -> int:
    """Ask for so long, one request after the other; how many were answered."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    count, end = 0, time.perf_counter() + seconds
    while not count or time.perf_counter() < end:
        connection.request("POST", path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        said = reply.read()
        if reply.status != 200:
            raise ResourceError(f"the server answered {reply.status}: {said[:200].decode(errors='replace')}")
        count += 1
    connection.close()
    return count


def _used(port: int) -> tuple[float, dict[int, int]]:
    """Core seconds of the server so far, and its batches by rows."""
    found = _CPU.search(_got(port, "/metrics")[1])
    stats = json.loads(_got(port, "/v2/models/stats")[1])["model_stats"][0]["batch_stats"]
    return float(found[1]) if found else 0.0, {one["batch_size"]: one["compute_infer"]["count"] for one in stats}


def _got(port: int, path: str) -> tuple[int, str]:
    """Status and text."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


@contextmanager
def _server(folder: Path, form: str, settings: Settings) -> Iterator[int]:
    """A server of the artifact with one thread; its port. Raises ResourceError when it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    asked = {"form": form, "device": settings.device, "runtime": settings.runtime, "threads": 1, "port": port}
    flags = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-P", "-m", "service", str(folder), *flags, "--log-level", "error"]
    # Without settings of the environment, such as keys, whose names may have small letters.
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=others)  # noqa: S603
    try:
        end = time.perf_counter() + _START_SECONDS
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() > end:
                raise ResourceError(f"the server did not start; `pgb serve {folder}` says why")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _ready(port: int) -> bool:
    with suppress(OSError, HTTPException):
        return _got(port, "/health")[0] == 200
    return False
