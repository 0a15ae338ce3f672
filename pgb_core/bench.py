"""Latency ratios that can be trusted: every graph in a process of its own, processes in turn.

Several ONNX Runtime sessions in one process spoil each other (idle pools spin), and one process
after another drifts with the machine; so short rounds alternate and each graph keeps its best
round's median. Run as `python -m pgb_core.bench` this file is the worker.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
            for shape, value in _in_process(path, shapes, threads, seconds).items():
                best[name][shape] = min(value, best[name].get(shape, value))
            progress(1)
    return {name: Timing(medians) for name, medians in best.items()}


def _in_process(path: Path, shapes: Sequence[Shape], threads: int, seconds: float) -> dict[Shape, float]:
    request = {"model": str(path), "shapes": shapes, "threads": threads, "seconds": seconds}
    done = subprocess.run(
        [sys.executable, "-m", "pgb_core.bench", json.dumps(request)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ResourceError(f"{path}: the timing process failed: {reason[0]}")
    return {tuple(shape): value for shape, value in json.loads(done.stdout)}


def _work(request: Mapping[str, object]) -> list[tuple[Shape, float]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(str(request["threads"]))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(request["model"]), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    rng = np.random.default_rng(0)
    found = []
    for batch, length in request["shapes"]:  # type: ignore[attr-defined]
        feed = {name: np.ones((batch, length), np.int64) for name in names}
        feed["input_ids"] = rng.integers(5, 500, (batch, length))
        if "token_type_ids" in feed:
            feed["token_type_ids"][:] = 0
        found.append(
            ((batch, length), _median(lambda feed=feed: session.run(None, feed), float(str(request["seconds"]))))
        )
    return found


def _median(call: Callable[[], object], seconds: float) -> float:
    for _ in range(3):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


if __name__ == "__main__":
    print(json.dumps(_work(json.loads(sys.argv[1]))))
