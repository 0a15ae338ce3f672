"""Chooses which directions of which matrices stay, within a budget of weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pgb_core.plan import Site


def cost_of(shape: tuple[int, int], rank: int) -> int:
    """Weights of a matrix [out, in] of which so many directions stay: as two products, or as it is if that is less."""
    return min(rank * sum(shape), shape[0] * shape[1])


def kept_directions(
    scores: Mapping[Site, tuple[Tensor, Tensor]], shapes: Mapping[Site, tuple[int, int]], budget: float
) -> dict[Site, Tensor]:
    """The directions of highest score over all matrices, as many as cost at most a budget, ascending.

    scores: of each direction of a matrix, and what decides between equal ones, [directions] each. Every matrix keeps
    its best direction. One that would save nothing keeps all of them.
    """
    first = torch.cat([one for one, _ in scores.values()])
    second = torch.cat([other for _, other in scores.values()])
    order = second.argsort(descending=True, stable=True)
    order = order[first[order].argsort(descending=True, stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    places = dict(zip(scores, place.split([len(one) for one, _ in scores.values()]), strict=True))

    def ranks(count: int) -> dict[Site, int]:
        return {site: max(1, int((mine < count).sum())) for site, mine in places.items()}

    low, high = 0, len(order)
    while low < high:  # most directions that the budget allows; the cost never falls with their number
        count = (low + high + 1) // 2
        if sum(cost_of(shapes[site], rank) for site, rank in ranks(count).items()) <= budget:
            low = count
        else:
            high = count - 1
    return {site: _picked(places[site], shapes[site], rank) for site, rank in ranks(low).items()}


def _picked(places: Tensor, shape: tuple[int, int], rank: int) -> Tensor:
    if cost_of(shape, rank) == shape[0] * shape[1]:
        return torch.arange(len(places))
    return places.argsort()[:rank].sort().values
