"""Training steps that skip some layers, so that the others learn to work without them (Fan et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pgb_core.learn.regime import Regime, Step
from pgb_core.model.encoder import Encoder, Layers


class LayerDrop(Regime):
    """At each step every layer is left out with a chance of `rate`; it is not computed, and learns nothing then."""

    def __init__(self, model: Encoder, rate: float) -> None:
        self._model = model
        self._rate = rate

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        every = self._model.layers
        generator = torch.Generator().manual_seed(step.draw)
        stays = (torch.rand(len(every), generator=generator) >= self._rate).tolist()
        self._model.layers = Layers(layer for layer, one in zip(every, stays, strict=True) if one)
        try:
            yield
        finally:
            self._model.layers = every
