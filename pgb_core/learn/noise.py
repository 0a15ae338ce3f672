"""Quantisation noise: some maps compute with the weights that int8 would give them, and learn as if they did not.

Quant-Noise (Fan et al. 2021, arXiv 2004.07320) quantises a random share of the weights at each step and passes
gradients straight through. Here the share is of whole maps, each output with a scale of its own, as in the int8 forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from pgb_core.learn.regime import Regime, Step
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Linear
from pgb_core.model.quantize import EVERYWHERE, rounded

PART = 0.3  # of the steps, at their end


class Noise(Regime):
    """In the last `part` of the steps a share of the maps is quantised at each."""

    def __init__(self, model: Encoder, share: float, part: float = PART) -> None:
        self._maps = list(model.sites().values())
        self._share = share
        self._part = part

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        chosen = picked(self._maps, self._share, step) if step.number >= (1 - self._part) * step.of else []
        with quantised(chosen):
            yield


def picked(maps: Sequence[Linear], share: float, step: Step) -> list[Linear]:
    """A share of the maps, drawn by the step alone."""
    generator = torch.Generator().manual_seed(step.draw)
    drawn = torch.rand(len(maps), generator=generator) < share
    return [one for one, chosen in zip(maps, drawn.tolist(), strict=True) if chosen]


@contextmanager
def quantised(maps: Sequence[Linear]) -> Iterator[None]:
    """Inside, these maps have rounded weights; gradients are those of the rounded weights, for the exact ones."""
    exact = [(p, p.data) for one in maps for p in one.parameters() if p.dim() > 1]
    try:
        for parameter, values in exact:
            parameter.data = rounded(values, EVERYWHERE)
        yield
    finally:
        for parameter, values in exact:
            parameter.data = values
