"""Latency ratios that can be trusted: every graph in a process of its own, processes in turn.

Several ONNX Runtime sessions in one process spoil each other (idle pools spin), and one process
after another drifts with the machine; so short rounds alternate and each graph keeps its best
round's median. Run as `python -m pgb_core.bench` this file is the worker.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgb_core.errors import ResourceError

Shape = tuple[int, int]
DEFAULT_SHAPES: tuple[Shape, ...] = ((1, 32), (1, 128), (8, 128), (1, 384))


@dataclass(frozen=True)
class Timing:
    """Milliseconds a run, by (batch, length)."""

    medians: Mapping[Shape, float]

    def ratio(self, other: Timing, shape: Shape) -> float:
        """How many times as fast as `other` this is."""
        return other.medians[shape] / self.medians[shape]


def compare(
    models: Mapping[str, Path],
    shapes: Sequence[Shape],
    threads: int,
    rounds: int = 3,
    seconds: float = 1.0,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, Timing]:
    """Time all models side by side. Raises ResourceError when a worker fails."""
    best: dict[str, dict[Shape, float]] = {name: {} for name in models}
    for _ in range(rounds):
        for name, path in models.items():
            for shape, value in time_in_process(path, shapes, threads, seconds).items():
                best[name][shape] = min(value, best[name].get(shape, value))
            progress(1)
    return {name: Timing(medians) for name, medians in best.items()}


def time_in_process(
    path: Path, shapes: Sequence[Shape], threads: int, seconds: float, worker: str = "pgb_core.bench"
) -> dict[Shape, float]:
    """Median milliseconds of one graph in a fresh process running the module `worker`. Raises ResourceError."""
    request = {"model": str(path), "shapes": shapes, "threads": threads, "seconds": seconds}
    command = [sys.executable, "-m", worker, json.dumps(request, allow_nan=False)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ResourceError(f"{path}: the timing process failed: {reason[0]}")
    return {tuple(shape): value for shape, value in json.loads(done.stdout.splitlines()[-1])}


def random_feed(names: Sequence[str], shape: Shape) -> dict[str, NDArray[np.int64]]:
    """Inputs of full length, the same each time."""
    feed = {name: np.ones(shape, np.int64) for name in names}
    feed["input_ids"] = np.random.default_rng(0).integers(5, 30, shape)
    if "token_type_ids" in feed:
        feed["token_type_ids"][:] = 0
    return feed


def median_milliseconds(call: Callable[[], object], seconds: float) -> float:
    """Of at least five calls in about `seconds`, after three that do not count."""
    for _ in range(3):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def _work(request: Mapping[str, Any]) -> list[tuple[Shape, float]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(request["model"], options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    found = []
    for batch, length in request["shapes"]:
        feed = random_feed(names, (batch, length))
        run = functools.partial(session.run, None, feed)
        found.append(((batch, length), median_milliseconds(run, request["seconds"])))
    return found


if __name__ == "__main__":
    print(json.dumps(_work(json.loads(sys.argv[1])), allow_nan=False))
