"""Heads and neurons: a value for each of them, their cost, which to keep, and what is then left of a matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.plan import FEED_FORWARD, WRITING, Choice, Role, Site, block
from pgb_core.search.importance import by_unit

Weights = Mapping[Site, Tensor]  # [out, in] each


@dataclass(frozen=True)
class Units:
    """A value for every head, [layers, heads], and for every neuron, [layers, neurons]: a score, a gate, or whether it
    is kept.
    """

    heads: Tensor
    neurons: Tensor

    def flat(self) -> Tensor:
        """The heads of every layer, then the neurons of every layer, [units]."""
        return torch.cat([self.heads.flatten(), self.neurons.flatten()])

    def like(self, found: Tensor) -> Units:
        """The inverse of `flat`, for other values of the same units, [units]."""
        heads, neurons = found.split([self.heads.numel(), self.neurons.numel()])
        return Units(heads.view_as(self.heads), neurons.view_as(self.neurons))


@dataclass(frozen=True)
class Sizes:
    """The shape of an encoder; heads and neurons of one layer. tokens: of an input whose products between tokens a
    budget counts too; 0 for weights alone.
    """

    layers: int
    heads: int
    neurons: int
    hidden: int
    head_dim: int
    tokens: int = 0

    @property
    def head(self) -> int:
        """What a budget counts of a head: its weights, and its products between tokens."""
        return 4 * self.head_dim * self.hidden + 2 * self.head_dim * self.tokens

    @property
    def neuron(self) -> int:
        """What a budget counts of a neuron."""
        return 2 * self.hidden

    @property
    def all_heads(self) -> int:
        """The number of heads in all layers."""
        return self.layers * self.heads

    @property
    def all_neurons(self) -> int:
        """The number of neurons in all layers."""
        return self.layers * self.neurons

    @property
    def total(self) -> int:
        """What a budget counts of the whole encoder."""
        return self.all_heads * self.head + self.all_neurons * self.neuron

    @property
    def without_heads(self) -> float:
        """Share that is left when every head is gone and no neuron is."""
        return self.all_neurons * self.neuron / self.total

    def cost(self, kept: Units) -> float:
        """What a budget counts of these. kept: true or false, or a chance to be kept."""
        return float(kept.heads.double().sum() * self.head + kept.neurons.double().sum() * self.neuron)

    def share(self, kept: Units) -> float:
        """What a budget counts of these, as a share of the whole encoder."""
        return self.cost(kept) / self.total

    def counts(self, keep: float, neurons: bool) -> tuple[int, int]:
        """How many heads and how many neurons are left of a share `keep`.

        Without `neurons` none of them goes, and heads alone are counted to the nearest. With them as large a share of
        the heads stays as of all, and neurons fill what is left. One head stays in any case; with `neurons`, where it
        fits.
        """
        budget = keep * self.total
        if not neurons:
            left = round((budget - self.all_neurons * self.neuron) / self.head)
            return min(max(left, 1), self.all_heads), self.all_neurons
        heads = min(max(round(keep * self.all_heads), 1), int(budget // self.head))
        return heads, min(int((budget - heads * self.head) // self.neuron), self.all_neurons)


def mean_squares(weights: Weights, head_dim: int) -> Units:
    """The mean square of the weights of each head and neuron."""
    heads, neurons = [], []
    for layer in range(1 + max(site.layer for site in weights)):
        w = {role: weights[Site(layer, role)].square() for role in Role}
        reading = torch.cat([w[Role.QUERY], w[Role.KEY], w[Role.VALUE], w[Role.ATTENTION_OUTPUT].T], dim=1)
        heads.append(by_unit(reading, head_dim).sum(1) / (head_dim * reading.shape[1]))
        every = w[Role.FFN_IN].sum(1) + w[Role.FFN_OUT].sum(0)
        neurons.append(every / (w[Role.FFN_IN].shape[1] + w[Role.FFN_OUT].shape[0]))
    return Units(torch.stack(heads), torch.stack(neurons))


def ranks(scores: Units) -> Units:
    """For each unit the share of its kind that is lower, above 0 and below 1; of equal ones the last is the lowest.

    So heads and neurons compare whose scores do not.
    """

    def ranked(kind: Tensor) -> Tensor:
        order = kind.flatten().argsort(descending=True, stable=True)
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device)
        return (1 - (places + 0.5) / len(order)).view_as(kind)

    return Units(ranked(scores.heads), ranked(scores.neurons))


def by_layer(scores: Tensor) -> Tensor:
    """Scores whose squares add up to 1 in each layer, [layers, units]; 0 where all of a layer are."""
    return scores / scores.norm(dim=1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def without_lowest(scores: Tensor, kept: Tensor, left: int) -> Tensor:
    """Which of the kept are still kept when `left` of them are: the highest. scores, kept: [layers, units]."""
    order = torch.where(kept, scores, -math.inf).flatten().argsort(descending=True, stable=True)
    found = torch.zeros_like(kept).flatten()
    found[order[:left]] = True
    return found.view_as(kept) & kept


def highest(scores: Units, sizes: Sizes, budget: float) -> Units:
    """Which to keep, on the CPU: the best head, then the highest scores first, each unit that the budget still holds.

    Of equal ones the first of every layer, as large a share of either kind. Without a head no token sees another one,
    which no score of a single head tells.
    """
    order, costs = _by_score(scores, sizes)
    ranked = list(zip(order.tolist(), costs.tolist(), strict=True))
    best = next(place for place, (index, _) in enumerate(ranked) if index < scores.heads.numel())
    kept = torch.zeros(len(order), dtype=torch.bool)
    for index, cost in [ranked[best], *ranked[:best], *ranked[best + 1 :]]:
        if cost <= budget:
            budget -= cost
            kept[index] = True
    return scores.like(kept)


def leading(scores: Units, sizes: Sizes, budget: float) -> Units:
    """Which to keep, on the device of the scores: the highest, up to the first that the budget does not hold.

    Unlike `highest` it does not look at units one by one, so it takes little time in a step of a training.
    """
    order, costs = _by_score(scores, sizes)
    kept = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    kept[order[costs.cumsum(0) <= budget]] = True
    return scores.like(kept)


def edge(scores: Units, sizes: Sizes, budget: float) -> float:
    """The score of the first unit that `leading` leaves out; 0 where it keeps all."""
    order, costs = _by_score(scores, sizes)
    beyond = scores.flat()[order][costs.cumsum(0) > budget]
    return float(beyond[0]) if len(beyond) else 0.0


def fitting(scores: Units, sizes: Sizes, keep: float) -> Units:
    """The highest within a share `keep` of the encoder. Raises PlanError when no head fits."""
    check_head_fits(sizes, keep)
    return highest(scores, sizes, keep * sizes.total)


def check_head_fits(sizes: Sizes, keep: float) -> None:
    """Raises PlanError when no head fits into a share `keep` of the encoder: without one no token sees another one."""
    if sizes.head > keep * sizes.total:
        least = above(sizes.head / sizes.total)
        raise PlanError(f"no head fits into {keep:.1%} of the encoder; use --keep {least:g} or more")


def above(share: float) -> float:
    """The next share of three decimals, to name one that is large enough."""
    return math.ceil(1000 * share) / 1000


def choices(kept: Units, sizes: Sizes) -> dict[Site, Choice]:
    """What is left of every matrix when these heads and neurons are."""
    found: dict[Site, Choice] = {}
    stream = range(sizes.hidden)
    for layer, (heads, neurons) in enumerate(zip(kept.heads.cpu(), kept.neurons.cpu(), strict=True)):
        channels = heads.repeat_interleave(sizes.head_dim).nonzero().flatten().tolist()
        for role in Role:
            left = neurons.nonzero().flatten().tolist() if role in FEED_FORWARD else channels
            width = sizes.neurons if role in FEED_FORWARD else sizes.heads * sizes.head_dim
            if role in WRITING:
                found[Site(layer, role)] = block(stream, left, (sizes.hidden, width))
            else:
                found[Site(layer, role)] = block(left, stream, (width, sizes.hidden))
    return found


def masks(kept: Units, head_dim: int) -> dict[Site, Tensor]:
    """Which columns of the maps that write to the stream belong to these units, [1, in] of 0 and 1.

    Nothing else reads what a head or a neuron makes, so without these columns it does nothing.
    """
    columns = {Role.ATTENTION_OUTPUT: kept.heads.repeat_interleave(head_dim, 1), Role.FFN_OUT: kept.neurons}
    return {Site(n, role): row.float().unsqueeze(0) for role, every in columns.items() for n, row in enumerate(every)}


def _by_score(scores: Units, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """The places of all units in `Units.flat`, the highest score first, and what each of them costs, [units] each."""
    every = scores.flat()
    kinds = (scores.heads, scores.neurons)
    within = [(torch.arange(kind.shape[1], device=every.device) + 0.5) / kind.shape[1] for kind in kinds]
    order = torch.cat([place.repeat(len(scores.heads)) for place in within]).argsort(stable=True)
    order = order[every[order].argsort(descending=True, stable=True)]
    costs = torch.where(order < scores.heads.numel(), sizes.head, sizes.neuron)
    return order, costs.double()
