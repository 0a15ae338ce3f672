"""Sets the number of threads that PyTorch computes with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from pgb_core.errors import ConfigError
from pgb_core.machine import usable_cores


def allowed(count: int) -> int:
    """The same number. Raises ConfigError when it is less than one, or more than the machine has processors."""
    most = os.cpu_count() or 1
    if not 1 <= count <= most:
        raise ConfigError(f"threads {count} is out of range; this machine has {most} processors, use 1 to {most}")
    return count


def usual(environment: Mapping[str, str] = os.environ) -> int:
    """Threads of a process that is not told how many: one for each of its cores, or OMP_NUM_THREADS if that is less."""
    said = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # of the outermost level
    return min(usable_cores(), int(said)) if said.isascii() and said.isdigit() and int(said) > 0 else usable_cores()


@contextmanager
def threads(count: int | None = None) -> Iterator[int]:
    """Compute on so many threads inside, by default the `usual` number; restored afterwards.

    Raises ConfigError as `allowed` does: more than there are processors would only wait for each other.
    """
    wanted = usual() if count is None else allowed(count)
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)
