"""The sizes that are tried, and which of them to try next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

SIZES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)


def smallest(sizes: Sequence[float], fits: Callable[[float], bool | None]) -> float | None:
    """The last size that fits, when each smaller one fits less: by halves, from the middle. None when none does.

    sizes: the largest first. fits: None where neither that size nor a smaller one can be made.
    """
    low, high, found = 0, len(sizes), None
    while low < high:
        middle = (low + high) // 2
        if fits(sizes[middle]):
            found, low = sizes[middle], middle + 1
        else:
            high = middle
    return found


def largest(sizes: Sequence[float], fits: Callable[[float], bool | None]) -> float | None:
    """The first size that fits, when each smaller one that can be made fits more; see `smallest`."""
    low, high, found = 0, len(sizes), None
    while low < high:
        middle = (low + high - 1) // 2
        answer = fits(sizes[middle])
        if answer is False:
            low = middle + 1
        else:
            found, high = (sizes[middle] if answer else found), middle
    return found
