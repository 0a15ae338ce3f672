"""From importances to a plan: one menu a sublayer, one choice from each, within the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.plan import ATTENTION, FEED_FORWARD, Choice, Keep, Plan, Role, Site
from pgb_core.search import menus
from pgb_core.search.budget import TOKENS, Option, allocate
from pgb_core.search.menus import Draft, Recipe
from pgb_core.threads import threads


@dataclass(frozen=True)
class Search:
    """How groups are looked for: 'shared' or 'disjoint', passes of the search, most groups a matrix."""

    grouping: str = "shared"
    passes: int = 6
    g_max: int = 6


def make_menus(
    importances: Mapping[Site, Tensor],
    head_dim: int,
    search: Search,
    progress: Callable[[int], None] = lambda layer: None,
) -> list[list[Option]]:
    """Menus in the order of data: attention and feed-forward of each layer.

    On one thread: the search is thousands of small products, and threads would wait longer than they work.
    """
    found = []
    with threads(1):
        for index in range(1 + max(site.layer for site in importances)):
            for roles in (ATTENTION, FEED_FORWARD):
                found.append(_menu({role: importances[Site(index, role)] for role in roles}, head_dim, search))
            progress(index)
    return found


def _menu(matrices: Mapping[Role, Tensor], head_dim: int, search: Search) -> list[Option]:
    if search.grouping == "disjoint":
        return menus.disjoint_menu(matrices, search.g_max, search.passes)
    if Role.QUERY in matrices:
        return menus.attention_menu(matrices, head_dim, search.passes)
    return menus.feed_forward_menu(matrices, search.passes)


def choose(
    menus_found: list[list[Option]], keep: float, checkpoint: str, head_dim: int, budget: str = "weights"
) -> Plan:
    """The plan that keeps the most importance in at most a share `keep` of the encoder.

    budget: 'weights', or 'flops' at 128 tokens. Raises PlanError when it cannot be met to one
    percent of the dense encoder.
    """
    count = _weights if budget == "weights" else _flops
    costed = [[replace(option, cost=count(option.recipe)) for option in menu] for menu in menus_found]
    dense = sum(count(whole(menu[-1].recipe)) for menu in menus_found)
    picked = allocate(costed, keep * dense)
    choices = {
        Site(position // 2, role): choice
        for position, option in enumerate(picked)
        for role, choice in menus.chosen(option.recipe).items()
    }
    plan = Plan(checkpoint, head_dim, choices)
    met = sum(option.cost for option in picked) / dense
    if abs(met - keep) > 0.01:
        raise PlanError(f"kept {met:.1%} of the {budget} where {keep:.1%} was asked; try another --keep")
    return plan


def importance_kept(plan: Plan, importances: Mapping[Site, Tensor]) -> float:
    """Share of all importance that lies in kept weights."""
    kept = 0.0
    for site, matrix in importances.items():
        choice = plan.choices[site]
        blocks = getattr(choice, "groups", None)
        if blocks is None:
            kept += float(matrix.sum())
        else:
            kept += sum(float(matrix[list(b.rows)][:, list(b.cols)].sum()) for b in blocks)
    return kept / max(1e-30, sum(float(matrix.sum()) for matrix in importances.values()))


def whole(recipe: Recipe) -> dict[Role, Choice]:
    """The same sublayer with nothing pruned."""
    return {role: Keep(choice.shape) for role, choice in recipe.items()}


def _weights(recipe: Recipe) -> float:
    return sum(choice.cost for choice in recipe.values())


def _flops(recipe: Recipe) -> float:
    """Multiply-adds a token, the products between 128 tokens included."""
    channels = sum(_rows(recipe[role]) for role in (Role.QUERY, Role.VALUE) if role in recipe)
    return _weights(recipe) + TOKENS * channels


def _rows(choice: Choice | Draft) -> int:
    if isinstance(choice, Draft):
        return choice.outputs
    return choice.shape[0] if isinstance(choice, Keep) else len(choice.rows)
