"""What this process may use of the machine, and facts about the machine that belong with a measurement."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# GNU's OpenMP, which PyTorch's wheels have, reads the first; LLVM's and Intel's read the second.
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
_WAITING = (*_PASSIVE, "GOMP_SPINCOUNT")
_MEMORY = Path("/proc/meminfo")
# Limit and use of a control group, version 2 and 1, and what of the use is files that the system may forget.
_MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def usable_cores() -> int:
    """Cores by affinity and by cgroup quota, whichever is less; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def free_memory() -> int | None:
    """Bytes that this process and those that it starts may still take; None where the system does not tell.

    The least of what is available on the machine and of what its control groups have left.
    """
    found = [_available()]
    with suppress(OSError, ValueError):
        found += [_room(folder) for folder in _groups("memory")]
    return min((room for room in found if room is not None), default=None)


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let idle OpenMP threads sleep; whoever has said how they wait is obeyed. Call it before importing torch.

    By default they spin between one parallel region and the next, and take the cores from everybody else.
    """
    if not any(name in environment for name in _WAITING):
        environment.update(_PASSIVE)


def facts() -> dict[str, object]:
    """Processor, instruction sets that matter here, cores and system, without names of hosts or users."""
    return {
        "cpu": _model(),
        "instruction_sets": instruction_sets(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor() -> str:
    """The processor's name and its instruction sets, in a line."""
    return f"{_model()} ({', '.join(instruction_sets()) or 'instruction sets unknown'})"


def instruction_sets() -> list[str]:
    """Those that decide how fast products are, as Linux names them; empty where it does not tell."""
    flags = set(_cpu_fact("flags").split())
    return [name for name in _INSTRUCTION_SETS if name in flags]


def _quota() -> float | None:
    """Cores that the control groups of this process allow, and those above them; None without a limit."""
    try:
        limits = [limit for folder in _groups("cpu") if (limit := _limit(folder)) is not None]
    except (OSError, ValueError):
        return None
    return min(limits, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """Control groups of a controller, version 1 and 2, from the outermost that is seen to this process's own.

    A container sees its own as the outermost; the path to it may be the host's, of which nothing is there.
    """
    for line in _OWN.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        folder = _GROUPS / controller if controllers else _GROUPS
        yield folder
        for part in PurePosixPath(path).parts[1:]:
            folder /= part
            yield folder


def _limit(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError):
        return None


def _available() -> int | None:
    """Bytes that the system could give without swapping."""
    try:
        lines = _MEMORY.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _room(folder: Path) -> int | None:
    """Bytes that a control group has left; None without a limit."""
    for limit, used, forgotten in _MEMORY_FILES:
        with suppress(OSError, ValueError):
            most, held = ((folder / name).read_text().strip() for name in (limit, used))
            if most == "max":
                return None
            lines = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
            files = sum(int(line[1]) for line in lines if line[:1] == [forgotten])
            return max(0, int(most) - int(held) + files)
    return None


def _model() -> str:
    return _cpu_fact("model name") or platform.processor() or "unknown"


def _cpu_fact(name: str) -> str:
    """What /proc/cpuinfo says of the first processor; empty where there is no such line."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""
