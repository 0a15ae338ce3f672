"""Heads and neurons: their importance, their cost, and what is left of a matrix when some are removed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.plan import ATTENTION, FEED_FORWARD, WRITING, Choice, Role, Site
from pgb_core.search.heads_and_neurons import left_of
from pgb_core.search.importance import by_unit

Weights = Mapping[Site, Tensor]  # [out, in] each
Values = Mapping[Role, Tensor]  # one a unit: VALUE [layers, heads], FFN_IN [layers, neurons]


@dataclass(frozen=True)
class Unit:
    """A head (of kind VALUE) or a neuron (FFN_IN). size: what it is worth; cost: what a budget counts of it."""

    layer: int
    kind: Role
    index: int
    size: float
    cost: int


def units(weights: Weights, head_dim: int, tokens: int, values: Values | None = None) -> Iterator[Unit]:
    """Every head and neuron of an encoder.

    tokens: of an input whose products between tokens count too; 0 for weights alone. values: what each is worth; by
    default the mean square of its weights.
    """
    costs = unit_costs(weights, head_dim, tokens)
    for kind, found in (mean_squares(weights, head_dim) if values is None else values).items():
        for layer, row in enumerate(found.tolist()):
            for index, size in enumerate(row):
                yield Unit(layer, kind, index, size, costs[kind])


def mean_squares(weights: Weights, head_dim: int) -> dict[Role, Tensor]:
    """The mean square of the weights of each head and neuron, as `Values` has them."""
    heads, neurons = [], []
    for layer in range(_layers(weights)):
        w = {role: weights[Site(layer, role)].square() for role in Role}
        reading = torch.cat([w[Role.QUERY], w[Role.KEY], w[Role.VALUE], w[Role.ATTENTION_OUTPUT].T], dim=1)
        heads.append(by_unit(reading, head_dim).sum(1) / (head_dim * reading.shape[1]))
        every = w[Role.FFN_IN].sum(1) + w[Role.FFN_OUT].sum(0)
        neurons.append(every / (w[Role.FFN_IN].shape[1] + w[Role.FFN_OUT].shape[0]))
    return {Role.VALUE: torch.stack(heads), Role.FFN_IN: torch.stack(neurons)}


def unit_costs(weights: Weights, head_dim: int, tokens: int) -> dict[Role, int]:
    """What a budget counts of one head and of one neuron; see `units`."""
    attention = sum(weights[Site(0, role)].shape[role not in WRITING] for role in ATTENTION)
    neuron = sum(weights[Site(0, role)].shape[role not in WRITING] for role in FEED_FORWARD)
    return {Role.VALUE: head_dim * (attention + 2 * tokens), Role.FFN_IN: neuron}


def ranks(values: Values) -> dict[Role, Tensor]:
    """For each unit the share of its kind that is worth less, above 0 and below 1; of equal ones the last is worth
    least. So heads and neurons compare whose values do not.
    """

    def ranked(kind: Tensor) -> Tensor:
        order = kind.flatten().argsort(descending=True, stable=True)
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device)
        return (1 - (places + 0.5) / len(order)).view_as(kind)

    return {role: ranked(kind) for role, kind in values.items()}


def edge(values: Values, costs: Mapping[Role, int], keep: float) -> float:
    """What the most worthy unit is worth that a share `keep` of all costs has no place for; 0 where all are kept."""
    order, total = _spent(values, costs)
    sizes = torch.cat([kind.flatten() for kind in values.values()])[order]
    beyond = sizes[total > keep * total[-1]]
    return float(beyond[0]) if len(beyond) else 0.0


def fitting(every: Sequence[Unit], keep: float) -> list[Unit]:
    """The units that are worth most within a share `keep` of all costs; one that does not fit makes room for others."""
    budget, left = keep * sum(unit.cost for unit in every), []
    for unit in sorted(every, key=lambda unit: -unit.size):
        if unit.cost <= budget:
            budget -= unit.cost
            left.append(unit)
    return left


def largest(
    weights: Weights, head_dim: int, keep: float, tokens: int = 0, values: Values | None = None
) -> tuple[dict[Site, Choice], float]:
    """The heads and neurons that are worth most, over all layers, within a share `keep`; and the share that they are.

    weights: [out, in] each. tokens: of an input whose products between tokens count too; 0 for weights alone. values:
    what they are worth; see `units`. Raises PlanError when not one of them fits.
    """
    every = list(units(weights, head_dim, tokens, values))
    left = fitting(every, keep)
    if not left:
        least = share_of([min(every, key=lambda unit: unit.cost)], every)
        raise PlanError(f"no head or neuron fits into {keep:.1%} of the encoder; use --keep {above(least):g} or more")
    return unit_choices(weights, head_dim, left), share_of(left, every)


def above(share: float) -> float:
    """The next share of three decimals, to name one that is large enough."""
    return math.ceil(1000 * share) / 1000


def share_of(left: Iterable[Unit], every: Iterable[Unit]) -> float:
    """The cost of `left` as a share of the cost of `every`."""
    return sum(unit.cost for unit in left) / sum(unit.cost for unit in every)


def unit_choices(weights: Weights, head_dim: int, left: Iterable[Unit]) -> dict[Site, Choice]:
    """What is left of every matrix when these heads and neurons are."""
    kept: dict[tuple[int, Role], list[int]] = {}
    for unit in left:
        lines = range(unit.index, unit.index + 1)
        if unit.kind is Role.VALUE:
            lines = range(head_dim * unit.index, head_dim * (unit.index + 1))
        kept.setdefault((unit.layer, unit.kind), []).extend(lines)
    found: dict[Site, Choice] = {}
    for site, matrix in weights.items():
        unit_kind = Role.FFN_IN if site.role in FEED_FORWARD else Role.VALUE
        width, hidden = matrix.shape[::-1] if site.role in WRITING else matrix.shape
        lines_left = sorted(kept.get((site.layer, unit_kind), []))
        found[site] = left_of(lines_left, width, hidden, site.role in WRITING)
    return found


def unit_masks(values: Values, costs: Mapping[Role, int], keep: float, head_dim: int) -> dict[Site, Tensor]:
    """Which columns of the maps that write to the stream belong to units within a share `keep`, [1, in] of 0 and 1.

    Nothing else reads what a head or a neuron makes, so without these columns it does nothing. The budget ends at the
    first unit that does not fit.
    """
    order, total = _spent(values, costs)
    kept = torch.zeros(len(order), device=order.device)
    kept[order[total <= keep * total[-1]]] = 1
    parts = zip(kept.split([kind.numel() for kind in values.values()]), values.items(), strict=True)
    found = {role: part.view_as(kind) for part, (role, kind) in parts}
    heads, neurons = found[Role.VALUE], found[Role.FFN_IN]
    columns = {Role.ATTENTION_OUTPUT: heads.repeat_interleave(head_dim, 1), Role.FFN_OUT: neurons}
    return {Site(n, role): row.unsqueeze(0) for role, every in columns.items() for n, row in enumerate(every)}


def _spent(values: Values, costs: Mapping[Role, int]) -> tuple[Tensor, Tensor]:
    """All units by what they are worth, the most first, and what each costs together with those before it."""
    order = torch.cat([kind.flatten() for kind in values.values()]).argsort(descending=True, stable=True)
    costing = [torch.full((kind.numel(),), costs[role], device=kind.device) for role, kind in values.items()]
    return order, torch.cat(costing)[order].cumsum(0)


def _layers(weights: Weights) -> int:
    return 1 + max(site.layer for site in weights)
