"""PGB as published: one threshold on importance decides how many groups each matrix gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from pgb_core.plan import ATTENTION, FEED_FORWARD, Site
from pgb_core.search.grouping import divisors

STEPS = 60  # of halving the threshold's range, on a logarithmic scale

Counts = Mapping[Site, int]


def group_count(importance: Tensor, tau: float, allowed: Sequence[int]) -> int:
    """Groups of a matrix [out, in] of whose weights a share p is above `tau`: as many as leave room for those, 1 / p.

    allowed: counts that divide the matrix, ascending. 0 where more would be needed than the largest of them: no
    important group forms.
    """
    above = float((importance > tau).double().mean())
    if above * (allowed[-1] + 1) <= 1:
        return 0
    return max(count for count in allowed if count * above <= 1 or count == allowed[0])


def counts_at(importances: Mapping[Site, Tensor], tau: float, g_max: int) -> dict[Site, int]:
    """Groups of every matrix; 0 where nothing of it is left.

    The feed-forward part of a layer goes when either of its matrices does. Attention goes when all four of its matrices
    do; until then each of them has `g_max` groups at most.
    """
    found: dict[Site, int] = {}
    for layer in range(1 + max(site.layer for site in importances)):
        for roles in (ATTENTION, FEED_FORWARD):
            sites = [Site(layer, role) for role in roles]
            allowed = {site: divisors(importances[site], g_max) for site in sites}
            counts = {site: group_count(importances[site], tau, allowed[site]) for site in sites}
            gone = [count == 0 for count in counts.values()]
            if all(gone) or (roles is FEED_FORWARD and any(gone)):
                found |= dict.fromkeys(sites, 0)
            else:
                found |= {site: count or allowed[site][-1] for site, count in counts.items()}
    return found


def cost_of(importances: Mapping[Site, Tensor], counts: Counts) -> int:
    """Weights kept."""
    return sum(importances[site].numel() // count for site, count in counts.items() if count)


@dataclass(frozen=True)
class Threshold:
    """A threshold, and the groups of every matrix at it."""

    tau: float
    counts: Counts


def within(
    importances: Mapping[Site, Tensor],
    g_max: int,
    budget: float,
    tau: float,
    cost: Callable[[Counts], float] | None = None,
) -> Threshold:
    """The lowest threshold whose plan costs at most `budget`. tau: where the search begins.

    cost: of a plan; by default its weights. It falls as the threshold rises.
    """

    def at(value: float) -> Threshold:
        return Threshold(value, counts_at(importances, value, g_max))

    def costs(found: Threshold) -> float:
        return cost(found.counts) if cost else cost_of(importances, found.counts)

    low, high = _bracket(lambda value: costs(at(value)) <= budget, tau)
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if costs(at(middle)) <= budget else (middle, high)
    return at(high)


def _bracket(fits: Callable[[float], bool], tau: float) -> tuple[float, float]:
    """Two thresholds of which the second one fits and the first does not, or is as low as numbers go."""
    low = high = tau
    while not fits(high):
        low, high = high, 16 * high
    while low > 1e-300 and fits(low):
        low, high = low / 16, low
    return low, high
