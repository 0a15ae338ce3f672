"""From importances to a plan: one menu a sublayer, one choice from each, within the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.plan import ATTENTION, FEED_FORWARD, Plan, Role, Site
from pgb_core.search import menus
from pgb_core.search.budget import allocate
from pgb_core.search.menus import Draft, Menu, Recipe
from pgb_core.search.prices import Prices
from pgb_core.threads import threads

FLOPS_TOKENS = 128  # of an input, whose products between tokens a budget of FLOPs counts


@dataclass(frozen=True)
class Search:
    """How groups are looked for: 'shared' or 'disjoint', passes of the search, most disjoint groups a matrix."""

    prices: Prices
    structure: str = "shared"
    passes: int = 6
    g_max: int = 6

    def menu(self, matrices: Mapping[Role, Tensor], head_dim: int) -> Menu:
        """The ways to prune one sublayer, by the importances of its matrices."""
        if self.structure == "disjoint":
            return menus.disjoint_menu(matrices, self.prices, self.g_max, self.passes)
        if Role.QUERY in matrices:
            return menus.attention_menu(matrices, head_dim, self.prices, self.passes)
        return menus.feed_forward_menu(matrices, self.prices, self.passes)


def make_menus(
    importances: Mapping[Site, Tensor],
    head_dim: int,
    search: Search,
    progress: Callable[[int], None] = lambda layer: None,
) -> list[tuple[int, Menu]]:
    """The menus of every layer's sublayers, each with the layer's index, in the order of data.

    On one thread: the search is thousands of small products, and threads would wait longer than they work.
    """
    found = []
    with threads(1):
        for index in range(1 + max(site.layer for site in importances)):
            for roles in (ATTENTION, FEED_FORWARD):
                menu = search.menu({role: importances[Site(index, role)] for role in roles}, head_dim)
                found.append((index, menu))
            progress(index)
    return found


def choose(found: list[tuple[int, Menu]], keep: float, checkpoint: str, head_dim: int, budget: str = "weights") -> Plan:
    """The plan that keeps the most importance in at most a share `keep` of the encoder.

    budget: 'weights', or 'flops' at 128 tokens. Raises PlanError when it cannot be met to one
    percent of the dense encoder.
    """
    count = _weights if budget == "weights" else _flops
    costed = [[replace(option, cost=count(option.recipe)) for option in menu] for _, menu in found]
    dense = sum(count({role: Draft.whole(d.shape) for role, d in menu[-1].recipe.items()}) for _, menu in found)
    picked = allocate(costed, keep * dense)
    choices = {
        Site(layer, role): choice
        for (layer, _), option in zip(found, picked, strict=True)
        for role, choice in menus.chosen(option.recipe).items()
    }
    met = sum(option.cost for option in picked) / dense
    if abs(met - keep) > 0.01:
        raise PlanError(f"kept {met:.1%} of the {budget} where {keep:.1%} was asked; try another --keep")
    return Plan(checkpoint, head_dim, choices)


def _weights(recipe: Recipe) -> float:
    return sum(draft.cost for draft in recipe.values())


def _flops(recipe: Recipe) -> float:
    """Multiply-adds a token, the products between tokens included."""
    channels = sum(recipe[role].outputs for role in (Role.QUERY, Role.VALUE) if role in recipe)
    return _weights(recipe) + FLOPS_TOKENS * channels
