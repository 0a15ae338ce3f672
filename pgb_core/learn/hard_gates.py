"""Gates that training opens or closes: Hard Concrete, with a penalty for each open gate (Voita et al. 2019).

The penalty rises while more gates are open than the target, and falls while fewer are. The target falls evenly from all
gates to the requested share over the first part of the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pgb_core.learn.gates import gated
from pgb_core.learn.regime import Regime, Step
from pgb_core.model.encoder import Encoder
from pgb_core.search.hard_concrete import open_probability, sampled
from pgb_core.search.units import Sizes, Units

OPEN = 2.0  # log_alpha at first: open with a probability of 0.94
FALLING = 0.7  # of the steps, in which the share that should be open falls
DECADES = 10.0  # that the price can rise or fall by in one training
NEAR = 0.1  # of all that has gates: if what is open is off by less, the price moves less


class HardGates(Regime):
    """A gate for each head, and for each neuron where these may go, too; of a dense model. One draw a step.

    keep: share of the encoder's cost that should be open at the end; penalty: at first, for a head, and for a neuron as
    much less as it costs less; rate: peak learning rate of the gates.
    """

    def __init__(self, model: Encoder, sizes: Sizes, keep: float, penalty: float, rate: float, neurons: bool) -> None:
        device = next(model.parameters()).device
        self._model = model
        self._sizes = sizes
        self._keep = keep
        self._rate = rate
        self._neurons = neurons
        self._heads_log_alpha = nn.Parameter(torch.full((sizes.layers, sizes.heads), OPEN, device=device))
        self._neurons_log_alpha = nn.Parameter(torch.full((sizes.layers, sizes.neurons), OPEN, device=device))
        self.price = torch.tensor(penalty, dtype=torch.float64)
        self._first = self.open

    @property
    def scores(self) -> Units:
        """log_alpha of every gate, on the CPU: the higher, the likelier open; without end where there is no gate."""
        neurons = self._neurons_log_alpha.detach().cpu()
        return Units(
            self._heads_log_alpha.detach().cpu(), neurons if self._neurons else torch.full_like(neurons, torch.inf)
        )

    @property
    def open(self) -> float:
        """Share of the encoder's cost that is open, as expected over draws."""
        with torch.no_grad():
            neurons = open_probability(self._neurons_log_alpha)
            found = Units(
                open_probability(self._heads_log_alpha), neurons if self._neurons else torch.ones_like(neurons)
            )
            return self._sizes.share(found)

    def groups(self) -> Sequence[dict[str, Any]]:
        """See Regime."""
        learned = [self._heads_log_alpha, *([self._neurons_log_alpha] if self._neurons else [])]
        return [{"params": learned, "lr": self._rate}]

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        generator = torch.Generator().manual_seed(step.draw)
        heads, neurons = (self._drawn(one, generator) for one in (self._heads_log_alpha, self._neurons_log_alpha))
        with gated(self._model, list(heads), list(neurons if self._neurons else torch.ones_like(neurons))):
            yield

    def penalty(self, step: Step) -> Tensor:
        """See Regime."""
        count = open_probability(self._heads_log_alpha).sum()
        if self._neurons:
            count = count + open_probability(self._neurons_log_alpha).sum() * (self._sizes.neuron / self._sizes.head)
        return float(self.price) * count

    def stepped(self, step: Step) -> None:
        """See Regime."""
        wanted = max(self._keep, self._first - (self._first - self._keep) * step.done / FALLING)
        whole = 1 - (0 if self._neurons else self._sizes.without_heads)
        far = max(-1.0, min(1.0, (self.open - wanted) / (NEAR * whole)))
        self.price *= 10 ** (DECADES * far / step.of)

    def state(self) -> Mapping[str, Tensor]:
        """See Regime."""
        return {
            "heads": self._heads_log_alpha.detach(),
            "neurons": self._neurons_log_alpha.detach(),
            "price": self.price,
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See Regime."""
        self._heads_log_alpha.data.copy_(tensors["heads"])
        self._neurons_log_alpha.data.copy_(tensors["neurons"])
        self.price.copy_(tensors["price"])

    @staticmethod
    def _drawn(log_alpha: Tensor, generator: torch.Generator) -> Tensor:
        return sampled(log_alpha, torch.rand(log_alpha.shape, generator=generator).to(log_alpha.device))
