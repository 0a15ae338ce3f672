"""Quantisation noise: some maps compute with the weights that int8 would give them, and learn as if they did not.

Quant-Noise (Fan et al. 2021, arXiv 2004.07320) quantises a random share of the weights at each step and passes
gradients straight through. Here the share is of whole maps, each output with a scale of its own, as in the int8 forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from pgb_core.model.linear import Linear
from pgb_core.model.quantize import EVERYWHERE, rounded

PART = 0.3  # of the steps, at their end


def picked(maps: Sequence[Linear], share: float, seed: int, step: int) -> list[Linear]:
    """A share of the maps, drawn by seed and step alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
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
