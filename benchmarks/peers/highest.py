"""The highest rate that a server holds, found by a short bisection."""

from __future__ import annotations

import math
from collections.abc import Callable

_CLOSE = 1.05  # the lowest rate that was missed, over the highest that was held, at which the search ends
_STEP = 1.5  # up or down, until both are known


def highest(holds: Callable[[float], bool], guess: float, tries: int) -> float:
    """The highest rate of those tried that holds; 0 when none does.

    holds: runs at a rate and says whether it was held. guess: where to begin, above 0. tries: most runs.
    """
    held, missed, rate = 0.0, math.inf, guess
    for _ in range(tries):
        if holds(rate):
            held = rate
        else:
            missed = rate
        if missed / max(held, 1e-9) <= _CLOSE:
            break
        if not held:
            rate = missed / _STEP
        elif math.isinf(missed):
            rate = held * _STEP
        else:
            rate = math.sqrt(held * missed)
    return held
