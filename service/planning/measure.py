"""Measures a profile: batches alone, and then requests to a real server.

Batches of each size of replica run in as many processes as it has workers, all at once, each on cores of its own. What
a request costs besides its batches is what a server takes of its core for requests of several shapes, less what one
thread takes of its core for their batches. Both are core seconds, in which waiting for a core does not count.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from pgb_core.artifact import Artifact, open_artifact
from pgb_core.errors import ConfigError, ResourceError
from pgb_core.inference.batches import prepare_question, prepare_texts
from pgb_core.inference.choose import Asked, choose
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.inference.runtimes.selfcheck import known_ids
from pgb_core.inference.runtimes.timing import filler
from pgb_core.inference.tasks.qa import QA, Question, Windowing
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.machine import facts, usable_cores
from service.planning.profile import Overhead, Point, Profile, Size, Times
from service.settings import PREFIX, Settings

_LENGTHS = (8, 16, 32, 64, 128, 256, 512)
_SECONDS, _LEAST_RUNS = 0.15, 3  # of each batch
_QUANTILES = 40
_WORDS = "the town sang a song of its old river"
_SHAPES = ((1, 8), (1, 64), (8, 8), (8, 40))  # inputs, words of each
_CLIENTS = 4  # that ask at one time
_ASK_SECONDS = 1.5  # for each shape
_START_SECONDS = 300.0
_INSTANT = 1e-7  # seconds
_WAITED = 0.05  # of the time
_SPREAD = 0.25  # of the middle half of the runs; with more, something else used the machine
_CPU = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
_LINE = [(1, 1)]
Told = Callable[[str], None]
Shape = tuple[int, int]  # rows, tokens


def sizes_here() -> list[tuple[int, int]]:
    """Workers and threads to measure where none are named: one core, all cores as threads, and all as workers."""
    cores = usable_cores()
    return list(dict.fromkeys([(1, 1), (1, cores), (cores, 1)]))


def measure(folder: Path, settings: Settings, sizes: Sequence[tuple[int, int]], told: Told) -> Profile:
    """The profile of an artifact on the CPU, in the form of the settings. told: hears what is done.

    Raises ConfigError when a size has more cores than there are, or the settings name another device; ResourceError
    when a process fails; and what opening an artifact raises.
    """
    if settings.device != "cpu":
        raise ConfigError(f"device {settings.device}: capacity is planned for models on the CPU; leave it out")
    for workers, threads in sizes:
        if workers * threads > usable_cores():
            raise ConfigError(
                f"--sizes {workers}x{threads}: that needs {workers * threads} cores, and this process may use "
                f"{usable_cores()}; measure on a machine that has them"
            )
    artifact = open_artifact(folder)
    manifest = artifact.manifest
    chosen = choose(artifact, Asked(settings.form, settings.device, settings.runtime, 1, settings.max_form_drop))
    form, runtime, device = chosen.form, chosen.kind, chosen.runtime.device
    chosen.runtime.close()
    timed: list[_Timed] = []
    for workers, threads in dict.fromkeys([*_LINE, *sizes]):
        told(f"timing batches, {workers} x {threads} threads")
        timed.append(_batches(artifact, form, runtime, device, settings.max_batch_tokens, workers, threads))
    told("timing requests")
    overhead = _requests(artifact, form, settings, Times(timed[0].taken))
    return Profile(
        model=manifest.name,
        digest=artifact.digest,
        task=manifest.task,
        form=form,
        runtime=runtime,
        device=device,
        max_length=manifest.max_length,
        batch_tokens=settings.max_batch_tokens,
        weights_kept=round(manifest.weights["kept"] / manifest.weights["dense"], 4),
        machine=facts(),
        busy=_busy(timed),
        overhead=overhead,
        sizes=[one.size for one in timed],
    )


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
class _Timed:
    """The times of a size; the core seconds of the same batches; and the largest share of a time by which the middle
    half of the runs of a batch differ."""

    size: Size
    taken: list[Point]
    differs: float


def _busy(timed: Sequence[_Timed]) -> str | None:
    """Why the times are not to be trusted, if they are not."""
    waited = 1 - sum(p.seconds for p in timed[0].taken) / sum(p.seconds for p in timed[0].size.points)
    differs = max(one.differs for one in timed)
    said = []
    if waited > _WAITED:
        said.append(f"a thread that was ready did not run {waited:.0%} of the time")
    if differs > _SPREAD:
        said.append(f"half of the runs of a batch differ by {differs:.0%}")
    return "; ".join(said).replace("%", " %") or None


def _batches(
    artifact: Artifact, form: str, runtime: str, device: str, batch_tokens: int, workers: int, threads: int
) -> _Timed:
    points: list[Point] = []
    taken: list[Point] = []
    ratios, differs = [], 0.0
    with ExitStack() as stack:
        opened = (str(artifact.path), form, runtime, device, threads)
        every = [stack.enter_context(_worker(opened, n)) for n in range(workers)]
        for worker in every:
            _received(worker)  # it is ready
        for rows, tokens in grid(artifact.manifest.max_length, batch_tokens):
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
    return _Timed(size, taken, differs)


@contextmanager
def _worker(opened: tuple[str, str, str, str, int], place: int) -> Iterator[Connection]:
    """A process that runs the batches it is sent."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_work, args=(its, opened, place), daemon=True)
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


def _work(pipe: Connection, opened: tuple[str, str, str, str, int], place: int) -> None:
    """Be a worker: for each batch that comes, seconds of each run (`times`) and core seconds of a run (`own`); or a
    text that says what went wrong."""
    path, form, runtime, device, threads = opened
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[place * threads : (place + 1) * threads])
    try:
        artifact = open_artifact(path)
        run = open_runtime(artifact, form, device, threads, runtime).run
        token = known_ids(artifact, form)[0]
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


def _requests(artifact: Artifact, form: str, settings: Settings, single: Times) -> Overhead:
    """What requests cost besides their batches: a plane through the costs of a few shapes."""
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
    found = _CPU.search(_got(port, "/metrics"))
    stats = json.loads(_got(port, "/v2/models/stats"))["model_stats"][0]["batch_stats"]
    return float(found[1]) if found else 0.0, {one["batch_size"]: one["compute_infer"]["count"] for one in stats}


def _got(port: int, path: str) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


@contextmanager
def _server(folder: Path, form: str, settings: Settings) -> Iterator[int]:
    """A server of the artifact with one thread; its port. Raises ResourceError when it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    asked = {"form": form, "device": settings.device, "runtime": settings.runtime, "threads": 1, "port": port}
    flags = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-P", "-m", "service", str(folder), *flags, "--log-level", "error"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # such as keys
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603
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
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
