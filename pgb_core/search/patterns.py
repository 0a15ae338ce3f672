"""Chooses which heads get fixed attention, and how close that comes to a budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.plan import ATTENTION, Choice, Keep, Pattern, Plan, Role, Site, block, nothing
from pgb_core.plan.kinds import Shape
from pgb_core.search.planning import share

Head = tuple[int, int]  # layer, head


def fixed_choices(
    shapes: Mapping[Site, Shape], head_dim: int, fixed: Collection[Head], dropped: Collection[int] = ()
) -> dict[Site, Choice]:
    """What is left of every matrix. fixed: heads without rows of query and key; dropped: layers without attention."""
    found: dict[Site, Choice] = {}
    for site, shape in shapes.items():
        heads = [head for head in range(shape[0] // head_dim) if (site.layer, head) not in fixed]
        rows = tuple(head_dim * head + n for head in heads for n in range(head_dim))
        if site.role in ATTENTION and site.layer in dropped:
            found[site] = nothing(shape)
        elif site.role in (Role.QUERY, Role.KEY):
            found[site] = block(rows, range(shape[1]), shape)
        else:
            found[site] = Keep(shape)
    return found


def nearest(plan_of: Callable[[int], Plan], most: int, keep: float, budget: str) -> int:
    """How many of `most` steps come nearest to a share `keep`, at least one. plan_of: after so many steps.

    Raises PlanError when there is none.
    """
    if most < 1:
        raise PlanError(
            "nothing of this model may be fixed: one head or one layer goes on as it is; use another --method"
        )
    return min(range(1, most + 1), key=lambda count: abs(share(plan_of(count), budget) - keep))


def closest(divergences: Mapping[int, Tensor], patterns: Sequence[Pattern]) -> list[tuple[Head, Pattern]]:
    """The pattern that each head is closest to, the closest head first.

    divergences: of each layer, [heads, patterns]. The head of a layer that is furthest from all patterns is left out,
    as it goes on learning.
    """
    found: list[tuple[float, Head, Pattern]] = []
    for layer, table in divergences.items():
        least, which = table.min(1)
        fixed = sorted(range(len(table)), key=lambda head: float(least[head]))[:-1]
        found += [(float(least[head]), (layer, head), patterns[int(which[head])]) for head in fixed]
    return [(head, pattern) for _, head, pattern in sorted(found)]


def patterns_of(heads: Mapping[Head, Pattern]) -> dict[int, dict[int, Pattern]]:
    """By layer, as a plan has them."""
    found: dict[int, dict[int, Pattern]] = {}
    for (layer, head), pattern in sorted(heads.items()):
        found.setdefault(layer, {})[head] = pattern
    return found
