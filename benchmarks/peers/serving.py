"""A server of the comparison, from its start to its end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import tree
from benchmarks.peers.rival import ROOT, Place, Rival
from benchmarks.service.harness import CORES, pinned
from benchmarks.service.process import free_port

CORE = {CORES[0]}  # of the server; the generator has the last one
_START_SECONDS = 120.0
_REFUSALS = 50  # after which a server is believed not to answer at all
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}
_FIRST = ("It works.",)


class DidNotStartError(Exception):
    """A server that gave no right answer; the end of its log is the message."""


@dataclass(frozen=True)
class Reply:
    """What came back. status: 0 when nothing did, and `text` then says how it ended."""

    status: int
    text: str
    seconds: float
    retry_after: bool = False


@dataclass(frozen=True)
class Running:
    """A server that answers. ready_seconds: from its start to its first right answer. mark: see `tree`."""

    rival: Rival
    port: int
    mark: str
    process: subprocess.Popen[bytes]
    ready_seconds: float

    def send(self, body: bytes, seconds: float = 30.0, path: str | None = None, method: str = "POST") -> Reply:
        """One request on a connection of its own."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            headers = {"content-type": "application/json"}
            connection.request(method, path or self.rival.path, body if method == "POST" else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            told = answer.getheader("retry-after") is not None
            return Reply(answer.status, text, time.perf_counter() - begun, told)
        except (OSError, http.client.HTTPException) as error:
            return Reply(0, type(error).__name__, time.perf_counter() - begun)
        finally:
            connection.close()

    def ask(self, texts: Sequence[str]) -> list[float]:
        """The probability of the positive label, by text. Raises ValueError for what is no right answer.

        A refusal for want of room is no answer: it is asked again.
        """
        body = json.dumps(self.rival.body(texts)).encode()
        reply = self.send(body)
        for _ in range(_REFUSALS):
            if reply.status not in (429, 503):
                break
            time.sleep(0.2)
            reply = self.send(body)
        if reply.status != 200:
            raise ValueError(f"status {reply.status}: {reply.text[:200]}")
        try:
            return self.rival.read(json.loads(reply.text))
        except (KeyError, IndexError, TypeError, StopIteration) as error:
            raise ValueError(f"an answer of another shape: {reply.text[:200]}") from error


@contextmanager
def serving(rival: Rival, python: Path, artifact: Path, form: str) -> Iterator[Running]:
    """Start it on its core, and end all that it started. Raises DidNotStartError."""
    scratch, mark = Path(tempfile.mkdtemp(prefix="peers-")), uuid.uuid4().hex
    place = Place(python.absolute(), artifact.resolve(), form, scratch, free_port())
    rival.prepare(place)
    environment = {**os.environ, **_ONE_THREAD, "ARTIFACT": str(place.artifact), "FORM": form, tree.MARK: mark}
    environment |= {"PATH": f"{place.tool}:{os.environ['PATH']}", **rival.environment(place)}
    log = (scratch / "log").open("wb")
    begun = time.perf_counter()
    with pinned(set(CORES) if rival.starts_on_all_cores else CORE):
        process = subprocess.Popen(
            list(rival.command(place)), stdout=log, stderr=log, env=environment, cwd=scratch, start_new_session=True
        )
    try:
        starting = Running(rival, place.port, mark, process, 0.0)
        while not _answers(starting):
            if process.poll() is not None or time.perf_counter() - begun > _START_SECONDS:
                raise DidNotStartError((scratch / "log").read_text("utf-8", "replace")[-2000:])
            time.sleep(0.05)
        ready = time.perf_counter() - begun
        tree.pin(mark, CORE)
        yield Running(rival, place.port, mark, process, ready)
    finally:
        tree.end(mark, 10.0)
        process.wait()
        log.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _answers(running: Running) -> bool:
    if running.send(json.dumps(running.rival.body(_FIRST)).encode()).status != 200:
        return False
    try:
        return len(running.ask(_FIRST)) == len(_FIRST)
    except ValueError:
        return False


def facts(running: Running) -> dict[str, Any]:
    """Start and memory."""
    resident, shared_out = tree.memory_mb(running.mark)
    return {
        "ready_seconds": round(running.ready_seconds, 1),
        "rss_mb": round(resident),
        "pss_mb": round(shared_out),
        "processes": len(tree.members(running.mark)),
    }
