"""Times batches alone, in as many processes as a replica has workers, all at once, each on cores of its own."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pgb_core.artifact import open_artifact
from pgb_core.errors import ResourceError
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.inference.runtimes.selfcheck import known_ids
from pgb_core.inference.runtimes.timing import filler
from service.planning.profile import Point, Size

_LENGTHS = (8, 16, 32, 64, 128, 256, 512)
_SECONDS, _LEAST_RUNS = 0.15, 3  # of each batch
_QUANTILES = 40
_INSTANT = 1e-7  # seconds
Shape = tuple[int, int]  # rows, tokens


def grid(max_length: int, batch_tokens: int) -> list[Shape]:
    """The batches that are measured: as many rows as a batch may have, halved until one is left."""
    found = []
    for tokens in dict.fromkeys([*(length for length in _LENGTHS if length < max_length), max_length]):
        rows = max(1, batch_tokens // tokens)
        while rows:
            found.append((rows, tokens))
            rows //= 2
    return found


@dataclass(frozen=True)
class Opening:
    """How a model is opened: the folder of its artifact, the form, and the runtime and device that run it."""

    folder: str
    form: str
    runtime: str
    device: str


@dataclass(frozen=True)
class Timed:
    """The times of a size; the core seconds of the same batches; and the largest share of a time by which the middle
    half of the runs of a batch differ."""

    size: Size
    taken: list[Point]
    differs: float


def time_batches(opening: Opening, shapes: Sequence[Shape], workers: int, threads: int) -> Timed:
    """The times of batches of these shapes, run by `workers` processes of `threads` threads at once.

    Raises ResourceError when a process fails.
    """
    points: list[Point] = []
    taken: list[Point] = []
    ratios, differs = [], 0.0
    with ExitStack() as stack:
        every = [stack.enter_context(_worker(opening, threads, n)) for n in range(workers)]
        for worker in every:
            _received(worker)  # it is ready
        for rows, tokens in shapes:
            for worker in every:
                worker.send((rows, tokens, _SECONDS))
            answers = [_received(worker) for worker in every]
            times = np.array([seconds for answer in answers for seconds in answer["times"]])
            own = statistics.mean(answer["own"] for answer in answers)
            low, median, high = np.percentile(times, [25, 50, 75])
            points.append(Point(rows=rows, tokens=tokens, seconds=float(median)))
            taken.append(Point(rows=rows, tokens=tokens, seconds=max(own, _INSTANT)))
            ratios.append(times / median)
            differs = max(differs, float((high - low) / median))
    spread = np.quantile(np.concatenate(ratios), (np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    size = Size(workers=workers, threads=threads, points=points, spread=[round(float(q), 4) for q in spread])
    return Timed(size, taken, differs)


@contextmanager
def _worker(opening: Opening, threads: int, place: int) -> Iterator[Connection]:
    """A process that runs the batches it is sent."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_work, args=(its, opening, threads, place), daemon=True)
    process.start()
    its.close()
    try:
        yield mine
    finally:
        mine.close()
        process.join(10)
        process.kill()


def _received(worker: Connection) -> Any:
    try:
        found = worker.recv()
    except EOFError:
        raise ResourceError("a process that times batches ended; there may be too little memory") from None
    if isinstance(found, str):
        raise ResourceError(f"a process that times batches failed: {found}")
    return found


def _work(pipe: Connection, opening: Opening, threads: int, place: int) -> None:
    """Be a worker: for each batch that comes, seconds of each run (`times`) and core seconds of a run (`own`); or a
    text that says what went wrong."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[place * threads : (place + 1) * threads])
    try:
        artifact = open_artifact(opening.folder)
        run = open_runtime(artifact, opening.form, opening.device, threads, opening.runtime).run
        token = known_ids(artifact, opening.form)[0]
        pipe.send({})
        while True:
            rows, tokens, seconds = pipe.recv()
            batch = [filler(token, tokens)] * rows
            run(batch)
            times: list[float] = []
            own, end = time.process_time(), time.perf_counter() + seconds
            while len(times) < _LEAST_RUNS or time.perf_counter() < end:
                begun = time.perf_counter()
                run(batch)
                times.append(time.perf_counter() - begun)
            pipe.send({"times": times, "own": (time.process_time() - own) / len(times)})
    except EOFError:
        return  # nobody asks any more
    except Exception as error:  # whatever a runtime raises
        pipe.send(f"{type(error).__name__}: {error}")
