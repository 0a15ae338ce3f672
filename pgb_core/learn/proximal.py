"""Reweighted proximal pruning: after each step, weights move toward 0 (Guo et al. 2019, arXiv 1909.12486).

The optimiser minimises only the loss. The penalty `lambda * sum |w| / (|w_before| + EPSILON)` has a proximal step of
its own: small weights reach 0 and stay there, and large ones hardly change. `w_before` is the weight at the start of
a round.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pgb_core.learn.finetune import WARMUP
from pgb_core.learn.regime import Regime, Step
from pgb_core.model.encoder import Encoder
from pgb_core.plan import FEED_FORWARD, WRITING, Role, Site
from pgb_core.search import singles, units

ROUNDS = 20
EPSILON = 1e-8
_HEADS, _NEURONS = str(Role.VALUE), str(Role.FFN_IN)  # names of whole units in what is kept of a training


def shrunk(sizes: Tensor, before: Tensor, strength: float) -> Tensor:
    """The sizes that minimise `(x - size)^2 / 2 + strength * x / (before + EPSILON)` over x >= 0, each by itself."""
    return (sizes - strength / (before + EPSILON)).clamp_min(0)


class Proximal(Regime):
    """Proximal steps on single weights, or on heads and neurons as wholes by the root mean square of their weights.

    lambda is found anew in each round: the weight at the edge of the budget shall reach 0 just by the last step. So it
    is as large as the budget asks for, whatever the length of the training. They begin after the warm-up.
    tokens: as `Sizes` has them.
    """

    def __init__(self, model: Encoder, whole: bool, keep: float, tokens: int) -> None:
        self._weights = {site: linear.get_parameter("weight") for site, linear in model.sites().items()}
        self._whole = whole
        self._keep = keep
        self._units = model.config.sizes(tokens)
        self._before: dict[str, Tensor] = {}
        self._strength = 0.0

    @torch.no_grad()
    def stepped(self, step: Step) -> None:
        """See Regime."""
        first = int(WARMUP * step.of)
        if step.number < first:
            return
        if not self._before or (step.number - first) % max(1, (step.of - first) // ROUNDS) == 0:
            self._begin(step)
        for name, sizes in self._sizes().items():
            left = shrunk(sizes, self._before[name], step.rate * self._strength)
            self._scale(name, left / sizes.clamp_min(1e-30))

    def zeros(self) -> float:
        """The share of the weights that is 0."""
        count = sum(weight.numel() for weight in self._weights.values())
        return sum(int((weight == 0).sum()) for weight in self._weights.values()) / count

    def state(self) -> Mapping[str, Tensor]:
        """See Regime."""
        return {**self._before, "strength": torch.tensor(self._strength, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See Regime."""
        self._strength = float(tensors["strength"])
        self._before = {name: value for name, value in tensors.items() if name != "strength"}

    def _begin(self, step: Step) -> None:
        """A round: sizes as they are, and the strength that takes the one at the edge to 0 by the last step."""
        self._before = {name: sizes.clone() for name, sizes in self._sizes().items()}
        if self._whole:
            before = units.Units(self._before[_HEADS], self._before[_NEURONS])
            edge = units.edge(before, self._units, self._keep * self._units.total)
        else:
            edge = singles.edge({Site.parse(name): sizes for name, sizes in self._before.items()}, self._keep)
        path = step.rate * (step.of - step.number + 1) / 2  # the sum of the rates that are left: they fall to 0 evenly
        self._strength = edge * (edge + EPSILON) / path

    def _sizes(self) -> dict[str, Tensor]:
        """The size of every weight by its matrix, or of every unit by its kind."""
        if not self._whole:
            return {str(site): weight.abs() for site, weight in self._weights.items()}
        found = units.mean_squares(self._weights, self._units.head_dim)
        return {_HEADS: found.heads.sqrt(), _NEURONS: found.neurons.sqrt()}

    def _scale(self, name: str, factors: Tensor) -> None:
        """Multiply what `_sizes` has under a name. factors: of its shape."""
        if not self._whole:
            self._weights[Site.parse(name)].mul_(factors)
            return
        feeds = name == _NEURONS
        for site, weight in self._weights.items():
            if (site.role in FEED_FORWARD) == feeds:
                lines = factors[site.layer] if feeds else factors[site.layer].repeat_interleave(self._units.head_dim)
                weight.mul_(lines if site.role in WRITING else lines.unsqueeze(1))
