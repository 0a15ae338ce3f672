"""How many threads PyTorch computes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pgb_core.machine import usable_cores


@contextmanager
def threads(count: int | None = None) -> Iterator[int]:
    """Compute on so many threads inside, by default as many as this process has cores; restored afterwards."""
    before = torch.get_num_threads()
    wanted = count or usable_cores()
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)
