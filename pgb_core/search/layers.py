"""Chooses which layers stay when whole layers are removed."""

from __future__ import annotations


def evenly(layers: int, keep: float) -> tuple[int, ...]:
    """As many layers as come nearest to a share, one at least, spread evenly and the first among them.

    Half of them is every other one: 0, 2, 4 and so on (Fan et al. 2019, arXiv 1909.11556).
    """
    left = max(1, int(keep * layers + 0.5))
    return tuple(n * layers // left for n in range(left))
