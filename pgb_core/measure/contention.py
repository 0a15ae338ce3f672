"""Decides whether a machine was too busy for a measurement, from what the kernel counted during it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_STATUS = Path("/proc/self/status")
_TASKS = Path("/proc/self/task")
# Shares past which a ratio is not to be trusted: of the time that threads were ready and did not run, of the cores
# that others used beyond the spare ones, of what the hypervisor took, and of a ratio by which its turns differ.
WAITED = 0.05
OTHERS = 0.1
STOLEN = 0.03
SPREAD = 0.25


@dataclass(frozen=True)
class Counted:
    """Core seconds of the whole machine since it started: used by anyone, and taken by the hypervisor."""

    used: float
    stolen: float

    def since(self, before: Counted) -> Counted:
        """The difference."""
        return Counted(self.used - before.used, self.stolen - before.stolen)


@dataclass(frozen=True)
class Conditions:
    """How much a measurement was disturbed, in seconds; None where the system does not tell.

    wall: how long it took; threads: that ran at a time; cores: of the machine; own: core seconds that the
    measured processes used; waited: seconds that their threads were ready and did not run; machine: what all
    processes used. spread: by how much the ratios of turns differ, as a share of their median.
    """

    wall: float
    threads: int
    cores: int
    own: float
    waited: float | None
    machine: Counted | None
    spread: float | None


def too_busy(found: Conditions) -> str | None:
    """Why the figures are not to be trusted, or None when they are."""
    if found.waited is not None and found.waited > WAITED * (found.own + found.waited):
        share = found.waited / (found.own + found.waited)
        return f"threads were ready and did not run {100 * share:.0f}% of the time"
    if found.machine is not None:
        others = (found.machine.used - found.own) / found.wall
        if others > found.cores - found.threads + OTHERS * found.threads:
            return f"other processes used {others:.1f} of {found.cores} cores"
        stolen = found.machine.stolen / (found.wall * found.cores)
        if stolen > STOLEN:
            return f"the hypervisor took {100 * stolen:.0f}% of the cores"
    if found.spread is not None and found.spread > SPREAD:
        return f"the ratios of turns differ by {100 * found.spread:.0f}%"
    return None


def machine_time() -> Counted | None:
    """What the kernel has counted so far; None where it does not tell."""
    try:
        fields = [int(field) for field in _STAT.read_text().splitlines()[0].split()[1:]]
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, stolen = fields[:8]
    except (OSError, ValueError, IndexError):
        return None
    return Counted((user + nice + system + irq + softirq) / tick, stolen / tick)


def waited() -> float | None:
    """Seconds that threads of this process were ready and did not run; None where the kernel does not tell."""
    try:
        return sum(int(task.joinpath("schedstat").read_text().split()[1]) for task in _TASKS.iterdir()) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def held() -> float | None:
    """Megabytes of memory that this process holds now; None where the system does not tell."""
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))
    except (OSError, ValueError, StopIteration):
        return None
