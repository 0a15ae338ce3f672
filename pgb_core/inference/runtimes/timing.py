"""Inputs of which only the run time counts, and the two lengths at which a model is timed when it is loaded."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pgb_core.inference.runtimes.base import Runtime
from pgb_core.inference.tokens import Tokens

SHORT, LONG = 16, 256  # tokens


def lengths(max_length: int) -> tuple[int, int]:
    """A short and a long input of a model that takes at most so many tokens."""
    return min(SHORT, max_length // 2), min(LONG, max_length)


def filler(token: int, size: int) -> Tokens:
    """An input of one token, `size` times."""
    return Tokens([token] * size, [0] * size)


def seconds(runtime: Runtime, batch: Sequence[Tokens]) -> float:
    """The time of one run."""
    begun = time.perf_counter()
    runtime.run(batch)
    return time.perf_counter() - begun
