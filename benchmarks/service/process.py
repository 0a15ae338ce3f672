"""Starts a server process on a free port, waits until it is ready, stops it, and tells what it takes of the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 60.0
STOP_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Launched:
    """A server process. ready_seconds: from its start to its first 200 on /health, 0 where nobody waited for that."""

    url: str
    process: subprocess.Popen[bytes]
    ready_seconds: float


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def launched(
    command: Sequence[str],
    environment: Mapping[str, str],
    cores: set[int] | None = None,
    wait: bool = True,
    log: Path | None = None,
) -> Iterator[Launched]:
    """The command with `--port` and a free port, ready unless `wait` says otherwise; it is stopped afterwards.

    cores: that it may use. log: the file of its standard error. Raises RuntimeError with what it said when it does not
    become ready, and TimeoutExpired when it does not stop.
    """
    port = free_port()
    with log.open("w+b") if log else tempfile.TemporaryFile() as said:  # a pipe that nobody reads would fill
        begun = time.perf_counter()
        with pinned(cores):
            process = subprocess.Popen([*command, "--port", str(port)], stderr=said, env=dict(environment))
        url = f"http://127.0.0.1:{port}"
        try:
            if wait and not _ready(url, process):
                said.seek(0)
                raise RuntimeError(f"the server did not become ready:\n{said.read().decode(errors='replace')}")
            yield Launched(url, process, time.perf_counter() - begun if wait else 0.0)
            if process.poll() is None:
                process.terminate()
                process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()


@contextmanager
def pinned(cores: set[int] | None) -> Iterator[None]:
    """This thread, and whatever it starts, on these cores only; on those that it has where none are named."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def memory_mb(pid: int, field: str = "VmHWM") -> float:
    """Most resident memory of a process since `forget_most`; VmRSS: now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def forget_most(pid: int) -> None:
    """Let the count of most memory begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether /health answers 200 before the process ends or the time is over."""
    until = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=10):  # noqa: S310 - our own server
                return True
        except (urllib.error.HTTPError, OSError):
            time.sleep(0.005)
    return False
