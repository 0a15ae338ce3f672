"""Reliable latency ratios: each graph in a process of its own, all running at once, measured in short turns.

Several ONNX Runtime sessions in one process disturb each other, and if processes run one after another, changes of the
machine affect them differently. So each process runs for less than a tenth of a second, then the next one does. A busy
moment then affects all of them, and ratios are taken between neighbouring turns. The kernel's counts show whether the
machine was too busy. Run as `python -m pgb_core.measure.bench`, this file is a worker.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgb_core.errors import ResourceError
from pgb_core.machine import free_memory
from pgb_core.measure import contention

Shape = tuple[int, int]
DEFAULT_SHAPES: tuple[Shape, ...] = ((1, 32), (1, 128), (8, 128), (1, 384))
SECONDS = 3.0
TURN = 0.08
TURNS = 5  # at least
WORKER = "pgb_core.measure.bench"
_TAIL = 4096  # bytes at the end of what a process says of its failure
# Bytes of a process that has a model open: so many, and so many times the model's file. Once it has loaded,
# benchmarks/encoder_speed.py found at most 0.16 GB and 2.
PROCESS, OF_FILE = 250_000_000, 2


@dataclass(frozen=True)
class Timing:
    """Milliseconds a run by (batch, length): the median of each turn, in the order of turns."""

    turns: Mapping[Shape, tuple[float, ...]]

    def minimum(self, shape: Shape) -> float:
        """The best turn."""
        return min(self.turns[shape])

    def median(self, shape: Shape) -> float:
        """The middle of the turns."""
        return float(np.median(self.turns[shape]))

    def p90(self, shape: Shape) -> float:
        """What nine of ten turns are below."""
        return float(np.percentile(self.turns[shape], 90))

    def ratios(self, other: Timing, shape: Shape) -> list[float]:
        """How many times as fast as `other` this is, for each pair of neighbouring turns."""
        return [b / a for a, b in zip(self.turns[shape], other.turns[shape], strict=True)]

    def ratio(self, other: Timing, shape: Shape) -> float:
        """The middle of the ratios."""
        return float(np.median(self.ratios(other, shape)))

    def ratio_range(self, other: Timing, shape: Shape) -> tuple[float, float]:
        """What eight of ten ratios are within."""
        low, high = np.percentile(self.ratios(other, shape), [10, 90])
        return float(low), float(high)


@dataclass(frozen=True)
class Measured:
    """Timings by model, and why they are not to be trusted, or None when they are.

    memory: megabytes that the process of each model held at the end, its code and libraries included; what is not known
    is left out.
    """

    timings: dict[str, Timing]
    busy: str | None
    memory: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Timed:
    """What a process has open: one form of an artifact on a device, or a graph alone in ONNX Runtime on the CPU."""

    path: Path
    form: str = ""
    device: str = "cpu"


class Worker:
    """A process that has one model open and runs it when it is told to."""

    def __init__(self, model: Timed, threads: int) -> None:
        self._path = model.path
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would be full in the end
        request = json.dumps({**asdict(model), "path": str(model.path), "threads": threads})
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, request],  # -P: not what lies in the current directory
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def turn(self, shape: Shape, seconds: float) -> dict[str, Any]:
        """Run for so long: milliseconds a run, and the process's core seconds and waiting so far.

        Raises ResourceError when the process has failed.
        """
        pipe, answers = self._process.stdin, self._process.stdout
        line = ""
        if pipe is not None and answers is not None:
            try:
                pipe.write(json.dumps({"shape": shape, "seconds": seconds}) + "\n")
                pipe.flush()
                line = answers.readline()
            except BrokenPipeError:
                pass  # it says why below
        if not line:
            self._process.communicate()
            raise ResourceError(f"{self._path}: the timing process failed: {self._reason()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _reason(self) -> str:
        """The last line that it said."""
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _TAIL))
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def needed(file: int) -> int:
    """Bytes of a process that has a model open whose file has so many."""
    return PROCESS + OF_FILE * file


def check_room(files: Iterable[int]) -> None:
    """Raises ResourceError when there is too little memory to have models open at once. files: bytes of each."""
    room, every = free_memory(), sum(map(needed, files))
    if room is not None and every > room:
        raise ResourceError(
            f"the models that are timed at once take about {every / 1e9:.1f} GB of memory, and {room / 1e9:.1f} GB are "
            "free; end other programs, or use a machine with more"
        )


def time_in_turns(
    models: Mapping[str, Timed],
    shapes: Sequence[Shape],
    threads: int,
    seconds: float = SECONDS,
    progress: Callable[[int], None] = lambda n: None,
) -> Measured:
    """Time all models in turn, each for about `seconds` a shape; progress is told after each shape.

    Raises ResourceError when a process fails.
    """
    turns: dict[str, dict[Shape, tuple[float, ...]]] = {name: {} for name in models}
    if not shapes:
        return Measured({name: Timing({}) for name in models}, None)
    with ExitStack() as stack:
        alive = {name: stack.enter_context(closing(Worker(model, threads))) for name, model in models.items()}
        before = {name: [worker.turn(shape, 0) for shape in shapes][-1] for name, worker in alive.items()}
        last = before
        machine, began = contention.machine_time(), time.perf_counter()
        for shape in shapes:
            for name, found in _in_turn(alive, shape, seconds).items():
                turns[name][shape] = tuple(one["milliseconds"] for one in found)
                last = {**last, name: found[-1]}
            progress(1)
        wall, now = time.perf_counter() - began, contention.machine_time()
    timings = {name: Timing(found) for name, found in turns.items()}
    waits = [last[name]["waited"] - before[name]["waited"] for name in last if last[name]["waited"] is not None]
    busy = contention.too_busy(
        contention.Conditions(
            wall,
            threads,
            os.cpu_count() or 1,
            sum(last[name]["own"] - before[name]["own"] for name in last),
            sum(waits) if len(waits) == len(last) else None,
            now.since(machine) if now is not None and machine is not None else None,
            _spread(timings, shapes),
        )
    )
    memory = {name: one["megabytes"] for name, one in last.items() if one["megabytes"] is not None}
    return Measured(timings, busy, memory)


def _in_turn(alive: Mapping[str, Worker], shape: Shape, seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Turns of every worker; each second round goes backwards, so that nobody always follows the same one."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in alive}
    end = time.perf_counter() + seconds * len(alive)
    order = list(alive)
    while any(len(one) < TURNS for one in found.values()) or time.perf_counter() < end:
        for name in order:
            found[name].append(alive[name].turn(shape, min(TURN, seconds)))
        order.reverse()
    return found


def _spread(timings: Mapping[str, Timing], shapes: Sequence[Shape]) -> float | None:
    """The largest share of a ratio by which half of its turns differ; of times, where there is one model."""
    names = list(timings)
    found = []
    for shape in shapes:
        mine = timings[names[0]]
        lines = [mine.ratios(timings[name], shape) for name in names[1:]] or [list(mine.turns[shape])]
        for line in lines:
            low, middle, high = np.percentile(line, [25, 50, 75])
            found.append(float((high - low) / middle))
    return max(found, default=None)


def random_feed(names: Sequence[str], shape: Shape, ids: Sequence[int] = range(5, 30)) -> dict[str, NDArray[np.int64]]:
    """Inputs of full length, the same each time. ids: those that the model has a row for; some of them are drawn."""
    feed = {name: np.ones(shape, np.int64) for name in names}
    feed["input_ids"] = np.random.default_rng(0).choice(np.asarray(ids, np.int64), shape)
    if "token_type_ids" in feed:
        feed["token_type_ids"][:] = 0
    return feed


def median_milliseconds(call: Callable[[], object], seconds: float, least: int = 5, warm: int = 3) -> float:
    """The median time of at least `least` calls in about `seconds`, after `warm` calls that do not count."""
    for _ in range(warm):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def work() -> None:
    """Be a worker: open the model of the first argument, then run as standard input says, a line a turn."""
    request = json.loads(sys.argv[1])
    if request["form"]:
        call_of = functools.cache(_form(request["path"], request["form"], request["device"], request["threads"]))
    else:
        call_of = functools.cache(_graph(request["path"], request["threads"]))
    for line in sys.stdin:
        asked = json.loads(line)
        call = call_of(tuple(asked["shape"]))
        # The first call finds the caches as the last turn left them.
        milliseconds = median_milliseconds(call, asked["seconds"], least=1, warm=1)
        own = time.process_time()
        found = {"own": own, "waited": contention.waited(), "megabytes": contention.held()}
        print(json.dumps({"milliseconds": milliseconds, **found}), flush=True)


def _form(path: str, form: str, device: str, threads: int) -> Callable[[Shape], Callable[[], object]]:
    """As the service runs it."""
    from pgb_core.artifact import open_artifact
    from pgb_core.inference.runtimes.registry import open_runtime
    from pgb_core.inference.runtimes.selfcheck import known_ids
    from pgb_core.inference.tokens import Tokens

    artifact = open_artifact(path)
    runtime, known = open_runtime(artifact, form, device, threads), known_ids(artifact, form)

    def call_of(shape: Shape) -> Callable[[], object]:
        ids = random_feed(["input_ids"], shape, known)["input_ids"].tolist()
        return functools.partial(runtime.run, [Tokens(row, [0] * len(row)) for row in ids])

    return call_of


def _graph(model: str, threads: int) -> Callable[[Shape], Callable[[], object]]:
    import onnxruntime

    from pgb_core.inference.runtimes.onnx_runtime import session_options  # idle workers leave the cores alone

    session = onnxruntime.InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return lambda shape: functools.partial(session.run, None, random_feed(names, shape))


if __name__ == "__main__":
    work()
