"""Quantisation noise: some maps compute with weights rounded to int8, with gradients as if they were not rounded.

Quant-Noise (Fan et al. 2021, arXiv 2004.07320) quantises a random share of the weights in each step and passes
gradients straight through. Here whole maps are quantised, with one scale for each output, as in the int8 forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pgb_core.learn.regime import Regime, Step
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Linear
from pgb_core.model.quantise import EVERYWHERE, rounded

PART = 0.3  # of the steps, at their end


class Noise(Regime):
    """In the last part of the steps, `PART`, a share of the maps is quantised at each."""

    def __init__(self, model: Encoder, share: float) -> None:
        self._maps = list(model.sites().values())
        self._share = share

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        chosen = picked(self._maps, self._share, step) if step.number >= (1 - PART) * step.of else []
        with quantised(chosen):
            yield

    @contextmanager
    def judged(self) -> Iterator[None]:
        """See Regime. All maps are quantised."""
        with quantised(self._maps):
            yield


def picked(maps: Sequence[Linear], share: float, step: Step) -> list[Linear]:
    """A share of the maps, drawn by the step alone."""
    generator = torch.Generator().manual_seed(step.draw)
    drawn = torch.rand(len(maps), generator=generator) < share
    return [one for one, chosen in zip(maps, drawn.tolist(), strict=True) if chosen]


class BlockNoise(Regime):
    """At every step a share of the blocks of every map is quantised. block: consecutive weights of one output."""

    def __init__(self, model: Encoder, share: float, block: int) -> None:
        self._parameters = [p for one in model.sites().values() if not one.exact for p in matrices(one)]
        self._share = share
        self._block = block

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        generator = torch.Generator(self._parameters[0].device).manual_seed(step.draw) if self._parameters else None
        noisy = [
            torch.where(blocks(p, self._share, self._block, generator), rounded(p, EVERYWHERE), p.data)
            for p in self._parameters
        ]
        with replaced(list(zip(self._parameters, noisy, strict=True))):
            yield

    @contextmanager
    def judged(self) -> Iterator[None]:
        """See Regime. All blocks are quantised."""
        with replaced([(p, rounded(p, EVERYWHERE)) for p in self._parameters]):
            yield


def blocks(weight: Tensor, share: float, block: int, generator: torch.Generator | None) -> Tensor:
    """Which weights [..., in] are in the share of blocks that is drawn; the last block of a row may be shorter."""
    block = min(block, weight.shape[-1])
    count = -(-weight.shape[-1] // block)
    drawn = torch.rand(*weight.shape[:-1], count, generator=generator, device=weight.device) < share
    return drawn.repeat_interleave(block, -1)[..., : weight.shape[-1]]


@contextmanager
def quantised(maps: Sequence[Linear]) -> Iterator[None]:
    """Inside, these maps have rounded weights; gradients are those of the rounded weights, for the exact ones."""
    with replaced([(p, rounded(p, EVERYWHERE)) for one in maps for p in matrices(one)]):
        yield


def matrices(linear: Linear) -> list[nn.Parameter]:
    """The parameters of a map whose last axis is what is read: all but its bias."""
    return [parameter for parameter in linear.parameters() if parameter.dim() > 1]


@contextmanager
def replaced(others: Sequence[tuple[nn.Parameter, Tensor]]) -> Iterator[None]:
    """Inside, these parameters have other values; gradients are those of the other values, for their own."""
    own = [(parameter, parameter.data) for parameter, _ in others]
    try:
        for parameter, values in others:
            parameter.data = values
        yield
    finally:
        for parameter, values in own:
            parameter.data = values
