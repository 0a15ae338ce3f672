"""Heads and neurons: a value for each of them, their cost, and the choices that keep some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pgb_core.plan import FEED_FORWARD, WRITING, Choice, Group, Grouping, Keep, Role, Site, nothing


@dataclass(frozen=True)
class Units:
    """A value for every head, [layers, heads], and for every neuron, [layers, neurons]: a score, a gate, or whether it
    is kept.
    """

    heads: Tensor
    neurons: Tensor


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

    def counts(self, keep: float, neurons: bool) -> tuple[int, int]:
        """How many heads and how many neurons are left of a share `keep`.

        Without `neurons` none of them goes, and heads alone are counted to the nearest. With them as large a share of
        the heads stays as of all, and neurons fill what is left.
        """
        budget = keep * self.total
        if not neurons:
            left = round((budget - self.all_neurons * self.neuron) / self.head)
            return min(max(left, 0), self.all_heads), self.all_neurons
        heads = min(round(keep * self.all_heads), int(budget // self.head))
        return heads, min(int((budget - heads * self.head) // self.neuron), self.all_neurons)


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
    """Heads and neurons, the highest scores first, each that the budget still holds; of equal ones the first of every
    layer, as large a share of either kind.
    """
    every = torch.cat([scores.heads.flatten(), scores.neurons.flatten()])
    within = [(torch.arange(kind.shape[1]) + 0.5) / kind.shape[1] for kind in (scores.heads, scores.neurons)]
    order = torch.cat([place.repeat(sizes.layers) for place in within]).argsort(stable=True)
    order = order[every[order].argsort(descending=True, stable=True)]
    costs = [sizes.head] * scores.heads.numel() + [sizes.neuron] * scores.neurons.numel()
    kept = torch.zeros(len(every), dtype=torch.bool)
    for index in order.tolist():
        if costs[index] <= budget:
            budget -= costs[index]
            kept[index] = True
    heads, neurons = kept.split([scores.heads.numel(), scores.neurons.numel()])
    return Units(heads.view_as(scores.heads), neurons.view_as(scores.neurons))


def choices(kept: Units, sizes: Sizes) -> dict[Site, Choice]:
    """What is left of every matrix when these heads and neurons are."""
    found: dict[Site, Choice] = {}
    for layer, (heads, neurons) in enumerate(zip(kept.heads.cpu(), kept.neurons.cpu(), strict=True)):
        channels = heads.repeat_interleave(sizes.head_dim).nonzero().flatten().tolist()
        for role in Role:
            left = neurons.nonzero().flatten().tolist() if role in FEED_FORWARD else channels
            width = sizes.neurons if role in FEED_FORWARD else sizes.heads * sizes.head_dim
            found[Site(layer, role)] = left_of(left, width, sizes.hidden, role in WRITING)
    return found


def left_of(left: Sequence[int], width: int, hidden: int, writes: bool) -> Choice:
    """What is left of a matrix between units of `width` channels and the stream, when these channels are."""
    shape = (hidden, width) if writes else (width, hidden)
    if not left:
        return nothing(shape)
    if len(left) == width:
        return Keep(shape)
    stream = tuple(range(hidden))
    return Grouping((Group(stream, tuple(left)) if writes else Group(tuple(left), stream),), shape)
