"""All processes of a server, wherever they went: each inherits a mark in its environment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "PEERS_MARK"
_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def members(mark: str) -> list[int]:
    """Process numbers of those with this mark that still run; a zombie does not."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except _GONE:
            continue
    return found


def memory_mb(mark: str) -> tuple[float, float]:
    """Resident memory of all of them: pages counted once a process, and pages shared out among their users."""
    resident = shared_out = 0
    for pid in members(mark):
        for key, value in _rollup(pid):
            resident += value if key == "Rss" else 0
            shared_out += value if key == "Pss" else 0
    return resident / 1024, shared_out / 1024


def cpu_seconds(mark: str) -> float:
    """Processor time of those that still run, and of the children that they waited for."""
    total = 0
    for pid in members(mark):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except _GONE:
            continue
        total += sum(int(fields[n]) for n in (11, 12, 13, 14))
    return total / _TICKS


def pin(mark: str, cores: set[int]) -> None:
    """All threads of all of them, and what they start later, on these cores only."""
    for pid in members(mark):
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)
        except _GONE:
            continue


def end(mark: str, patience: float) -> int:
    """SIGTERM to all, and SIGKILL to what is left after `patience` seconds. Returns how many were killed."""
    for number, limit in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        left = members(mark)
        for pid in left:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        until = time.monotonic() + limit
        while members(mark) and time.monotonic() < until:
            time.sleep(0.1)
        if not members(mark):
            return len(left) if number == signal.SIGKILL else 0
    return len(left)


def _rollup(pid: int) -> Iterator[tuple[str, int]]:
    """Fields of a process's memory, in kB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except _GONE:
        return
    for line in lines[1:]:
        key, _, value = line.partition(":")
        yield key, int(value.split()[0])
