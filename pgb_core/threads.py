"""Sets the number of threads that PyTorch computes with."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@contextmanager
def threads(count: int | None = None) -> Iterator[int]:
    """Compute on so many threads inside, by default as many as this process has cores; restored afterwards.

    Raises ConfigError as `allowed` does: more than there are processors would only wait for each other.
    """
    wanted = usable_cores() if count is None else allowed(count)
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)
