"""How much a server can do, found by offering more than that."""

from __future__ import annotations

from collections.abc import Callable

# Less than this share of what was offered was answered: the server, and not the offer, set the pace.
_SATURATED = 0.93


def find(offer: Callable[[float], tuple[float, float]], rate: float, rounds: int) -> float:
    """The best goodput of `rounds` runs that saturate.

    offer: runs at a rate, returns what was really offered and what was answered, all a second. A run that
    is answered whole tells only that there is more, and the rate goes up by half; after 8 of them it is given up.
    """
    best, saturated = 0.0, 0
    for _ in range(rounds + 8):
        offered, answered = offer(rate)
        best = max(best, answered)
        if answered > _SATURATED * offered:
            rate *= 1.5
            continue
        saturated += 1
        if saturated == rounds:
            break
    return best
