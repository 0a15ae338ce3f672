"""Choose one option per sublayer so that the importance kept is largest within a budget.

This is a multiple-choice knapsack, solved by dynamic programming, and exact up to the rounding of prices. Dropping a
sublayer is one of its options, so a layer is removed exactly where that loses the least importance.

There are two costs. `cost` is what the user's budget counts (weights, or FLOPs). `price` is what an option costs at run
time, in weights of a dense product that takes as long, so that gathers and small kernels are not counted as free: among
plans of equal cost the faster one is chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from pgb_core.errors import PlanError

BINS = 4096
STEPS = 14  # of the bisection over the price
Recipe = TypeVar("Recipe")
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Option(Generic[Recipe]):
    """One way to prune a sublayer: what it costs, what it takes to run, the importance it keeps, and how."""

    cost: float
    price: float
    kept: float
    recipe: Recipe


def pareto(options: Sequence[Option[Recipe]]) -> list[Option[Recipe]]:
    """Options that nothing of lower or equal price beats, by rising price."""
    front: list[Option[Recipe]] = []
    for option in sorted(options, key=lambda o: (o.price, -o.kept)):
        if not front or option.kept > front[-1].kept:
            front.append(option)
    return front


def combine(
    first: Sequence[Option[Mapping[Key, Value]]], second: Sequence[Option[Mapping[Key, Value]]]
) -> list[Option[Mapping[Key, Value]]]:
    """The Pareto front of all pairs, one of each; recipes are mappings, and are merged.

    Sums are compared before anything is built, and only pairs on the front are.
    """
    pairs = [(b, a) for b in range(len(second)) for a in range(len(first))]
    price = np.add.outer([o.price for o in second], [o.price for o in first]).ravel()
    kept = np.add.outer([o.kept for o in second], [o.kept for o in first]).ravel()
    order = np.lexsort((-kept, price))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], kept[order][:-1]]))
    front: list[Option[Mapping[Key, Value]]] = []
    for place in order[kept[order] > best]:
        b, a = pairs[place]
        one, other = first[a], second[b]
        front.append(
            Option(one.cost + other.cost, float(price[place]), float(kept[place]), {**one.recipe, **other.recipe})
        )
    return front


def allocate(
    menus: Sequence[Sequence[Option[Recipe]]], budget: float, needed: Collection[int] = ()
) -> list[Option[Recipe]]:
    """One option of each menu; total cost at most `budget`, total importance kept as large as can be.

    needed: numbers of menus. At least one of them keeps something, where the budget allows it.
    Raises PlanError when even the cheapest options are dearer.
    """
    chosen = _allocated(menus, budget)
    if not needed or any(chosen[n].cost for n in needed):
        return chosen
    found = []
    for needy in needed:
        tried = [[o for o in menu if o.cost] if n == needy else menu for n, menu in enumerate(menus)]
        if tried[needy] and _least(tried) <= budget:
            found.append(_allocated(tried, budget))
    return max(found, key=lambda options: sum(o.kept for o in options), default=chosen)


def _least(menus: Sequence[Sequence[Option[Recipe]]]) -> float:
    """What the cheapest options cost."""
    return sum(min(o.cost for o in menu) for menu in menus)


def _allocated(menus: Sequence[Sequence[Option[Recipe]]], budget: float) -> list[Option[Recipe]]:
    """`allocate` without a condition.

    Bisects the price that may be spent until the cost meets the budget, then spends what is left.
    """
    if _least(menus) > budget:
        raise PlanError(f"no plan costs {budget:.0f} or less; use a larger --keep")
    menus = [sorted(menu, key=lambda o: o.price) for menu in menus]  # of equals the first is taken
    low = sum(min(o.price for o in menu) for menu in menus)
    high = sum(max(o.price for o in menu) for menu in menus) * (1 + len(menus) / BINS)  # room for rounding up
    best = [min(menu, key=lambda o: o.cost) for menu in menus]
    limit = high
    for _ in range(1 + STEPS):
        chosen = _knapsack(menus, limit)
        if chosen is None or sum(o.cost for o in chosen) > budget:
            high = limit
        else:
            low = limit
            if sum(o.kept for o in chosen) >= sum(o.kept for o in best):
                best = chosen
        limit = (low + high) / 2
    return _filled(menus, best, budget)


def _filled(
    menus: Sequence[Sequence[Option[Recipe]]], chosen: list[Option[Recipe]], budget: float
) -> list[Option[Recipe]]:
    """Spend what the bisection left: exchange options for ones that keep more, while the cost allows."""
    chosen = list(chosen)
    while True:
        left = budget - sum(o.cost for o in chosen)
        better = [
            (option.kept - chosen[n].kept, n, k)
            for n, menu in enumerate(menus)
            for k, option in enumerate(menu)
            if option.kept > chosen[n].kept and option.cost - chosen[n].cost <= left
        ]
        if not better:
            return chosen
        _, n, k = max(better)
        chosen[n] = menus[n][k]


def _knapsack(menus: Sequence[Sequence[Option[Recipe]]], limit: float) -> list[Option[Recipe]] | None:
    """The most importance for a total price of at most `limit`; None when nothing fits."""
    unit = limit / BINS if limit else 1.0
    best = np.zeros(BINS + 1)
    picks = []
    for menu in menus:
        tried = np.full((len(menu), BINS + 1), -np.inf)
        for n, option in enumerate(menu):
            price = _bins(option, unit)
            if price <= BINS:
                tried[n, price:] = best[: BINS + 1 - price] + option.kept
        pick = tried.argmax(0)
        best = tried[pick, np.arange(BINS + 1)]
        picks.append(pick)
    if not np.isfinite(best[BINS]):
        return None
    chosen = []
    left = BINS
    for menu, pick in zip(reversed(menus), reversed(picks), strict=True):
        option = menu[int(pick[left])]
        chosen.append(option)
        left -= _bins(option, unit)
    return chosen[::-1]


def _bins(option: Option[Recipe], unit: float) -> int:
    return int(np.ceil(option.price / unit - 1e-9))
