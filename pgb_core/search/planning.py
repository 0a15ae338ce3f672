"""Makes a plan from importances: one menu for each sublayer, one choice from each menu, within the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.plan import ATTENTION, FEED_FORWARD, Plan, Role, Site, flops
from pgb_core.search import menus, nested
from pgb_core.search.budget import allocate, pareto
from pgb_core.search.menus import Draft, Menu, Recipe
from pgb_core.search.prices import Prices
from pgb_core.search.telling import NOTHING_MATTERS
from pgb_core.search.units import above
from pgb_core.threads import threads

FLOPS_TOKENS = 128  # of an input, whose products between tokens a budget of FLOPs counts


def share(plan: Plan, budget: str) -> float:
    """What a plan keeps of the encoder. budget: 'weights', or 'flops' at 128 tokens."""
    if budget == "weights":
        return plan.cost / plan.dense_cost
    return flops(plan, FLOPS_TOKENS) / flops(plan, FLOPS_TOKENS, dense=True)


@dataclass(frozen=True)
class Search:
    """How a structure is looked for: 'auto', 'shared', 'disjoint' or 'nested', passes of the search for groups, most
    disjoint groups a matrix. 'auto' is 'shared' and 'nested' together, in the order of the stream of 'nested'.
    """

    prices: Prices
    structure: str = "shared"
    passes: int = 6
    g_max: int = 6

    def menu(self, matrices: Mapping[Role, Tensor], head_dim: int) -> Menu:
        """The ways to prune one sublayer, by the importances of its matrices."""
        if self.structure == "disjoint":
            return menus.disjoint_menu(matrices, self.prices, self.g_max, self.passes)
        if self.structure == "auto":
            both = [replace(self, structure=one).menu(matrices, head_dim) for one in ("nested", "shared")]
            return pareto([option for menu in both for option in menu])
        if self.structure == "nested":
            if Role.QUERY in matrices:
                return nested.attention_menu(matrices, head_dim, self.prices)
            return nested.feed_forward_menu(matrices, self.prices)
        if Role.QUERY in matrices:
            return menus.attention_menu(matrices, head_dim, self.prices, self.passes)
        return menus.feed_forward_menu(matrices, self.prices, self.passes)


@dataclass(frozen=True)
class Menus:
    """The menus of every layer's sublayers, each with the layer's index, in the order of data.

    stream: the order of the residual stream that they are for, as `Plan` has it.
    """

    sublayers: Sequence[tuple[int, Menu]]
    stream: tuple[int, ...] | None = None


def make_menus(
    importances: Mapping[Site, Tensor],
    head_dim: int,
    search: Search,
    progress: Callable[[int], None] = lambda layer: None,
) -> Menus:
    """Every way to prune each sublayer.

    On one thread: the search is thousands of small products, and threads would wait longer than they work.
    """
    found = []
    with threads(1):
        order = nested.stream_order(importances) if search.structure in ("nested", "auto") else None
        for index in range(1 + max(site.layer for site in importances)):
            for roles in (ATTENTION, FEED_FORWARD):
                matrices = {role: importances[Site(index, role)] for role in roles}
                if order is not None:
                    matrices = {role: nested.in_order(values, role, order) for role, values in matrices.items()}
                found.append((index, search.menu(matrices, head_dim)))
            progress(index)
    return Menus(found, None if order is None else tuple(order.tolist()))


def choose(
    found: Menus,
    keep: float,
    checkpoint: str,
    head_dim: int,
    budget: str = "weights",
) -> Plan:
    """The plan that keeps the most importance in at most a share `keep` of the encoder, and attention in some layer.

    Importances of single weights add up, and so they do not tell what the last attention is worth: without any, no
    token sees another one, and a model that answers from its first token answers alike whatever it reads.

    budget: 'weights', or 'flops' at 128 tokens. Raises PlanError when no plan with attention is that small, or when
    no weight of it has importance.
    """
    count = _weights if budget == "weights" else _flops
    costed = [[replace(option, cost=count(option.recipe)) for option in menu] for _, menu in found.sublayers]
    dense = sum(
        count({role: Draft.whole(d.shape) for role, d in menu[-1].recipe.items()}) for _, menu in found.sublayers
    )
    mixing = [n for n, (_, menu) in enumerate(found.sublayers) if Role.QUERY in menu[0].recipe]
    picked = allocate(costed, keep * dense, mixing)
    if not any(picked[n].cost for n in mixing):
        costs = [option.cost for n in mixing for option in costed[n] if option.cost]
        if not costs:  # an option that keeps no importance is on no menu
            none = not any(option.cost for menu in costed for option in menu)
            raise PlanError(NOTHING_MATTERS.format(what="weight" + " of attention" * (not none), other="magnitude"))
        least = min(costs) / dense
        raise PlanError(f"no plan with attention keeps {keep:.1%} of the {budget}; use --keep {above(least):g} or more")
    choices = {
        Site(layer, role): choice
        for (layer, _), option in zip(found.sublayers, picked, strict=True)
        for role, choice in menus.chosen(option.recipe).items()
    }
    return Plan(checkpoint, head_dim, choices, found.stream)


def _weights(recipe: Recipe) -> float:
    return sum(draft.cost for draft in recipe.values())


def _flops(recipe: Recipe) -> float:
    """Multiply-adds a token, the products between tokens included."""
    channels = sum(recipe[role].outputs for role in (Role.QUERY, Role.VALUE) if role in recipe)
    return _weights(recipe) + FLOPS_TOKENS * channels
