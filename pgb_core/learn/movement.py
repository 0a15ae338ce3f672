"""Movement pruning: scores learn which weights move away from 0 (Sanh et al. 2020, arXiv 2005.07683).

A score is not part of what the model computes. Its gradient is that of its mask, as if the mask were the score
(straight-through): `dL/dS = dL/dW' * W`, where W' is the masked weight. So a score rises when training would make its
weight larger, whether or not the weight is masked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pgb_core.learn.masking import Masking, cubic
from pgb_core.learn.regime import Step
from pgb_core.model.encoder import Encoder
from pgb_core.plan import ATTENTION, FEED_FORWARD, WRITING, Role, Site
from pgb_core.search import units
from pgb_core.search.singles import largest_of_each, largest_written

SCORE_RATE = 1e-2  # of the paper's repository, as are the two below
THRESHOLD = 0.1  # of the sigmoid of a score
PENALTY = 400.0  # of the mean sigmoid, for the weights of BERT-base
BASE = 84_934_656  # weights of the encoder of BERT-base
PULL = 40.0  # how fast the penalty follows what is kept, in logarithms a training
BLOCK = 32  # rows and columns of a block in attention (Lagunas et al. 2021, arXiv 2109.04838)


class Movement(Masking):
    """Scores that start at 0, a tensor a matrix, with Adam and a rate of their own. A subclass says what they mask."""

    def __init__(
        self, model: Encoder, shape: Callable[[Site, Tensor], Sequence[int]], keep: float, rate: float
    ) -> None:
        super().__init__(model)
        self.scores = {
            site: nn.Parameter(weight.new_zeros(*shape(site, weight))) for site, weight in self.weights.items()
        }
        self._keep = keep
        self._rate = rate

    def groups(self) -> Sequence[dict[str, Any]]:
        """See Regime."""
        return [{"params": list(self.scores.values()), "lr": self._rate}]

    def moved(self, site: Site, product: Tensor) -> Tensor:
        """The gradient of a matrix's scores. product: dL/dW' * W, [out, in]."""
        return product

    def graded(self, step: Step) -> None:
        """See Regime."""
        for site, score in self.scores.items():
            weight = self.weights[site]
            if weight.grad is None:
                continue
            grad = self.moved(site, weight.grad * weight.detach())
            score.grad = grad if score.grad is None else score.grad + grad
        super().graded(step)

    def state(self) -> Mapping[str, Tensor]:
        """See Regime."""
        return {str(site): score.detach() for site, score in self.scores.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See Regime."""
        with torch.no_grad():
            for site, score in self.scores.items():
                score.copy_(tensors[str(site)])


class Hard(Movement):
    """A score a weight; the same share of every matrix stays, those with the highest scores."""

    def __init__(self, model: Encoder, keep: float, rate: float) -> None:
        super().__init__(model, lambda site, weight: weight.shape, keep, rate)

    def masks(self, step: Step) -> Mapping[Site, Tensor]:
        """See Masking."""
        return self.left(cubic(step.done, self._keep))

    def left(self, keep: float) -> dict[Site, Tensor]:
        """Masks of a share `keep`."""
        return largest_of_each({site: score.detach() for site, score in self.scores.items()}, keep)


class Soft(Hard):
    """A score a weight; those stay whose sigmoid is above `THRESHOLD`, and at least a share `keep` of all.

    The penalty on the mean sigmoid starts at the strength that the paper's has on each weight of BERT-base. From there
    it grows while more scores are above the threshold than the cubic schedule says, and shrinks while fewer are.
    """

    def __init__(self, model: Encoder, keep: float, rate: float) -> None:
        super().__init__(model, keep, rate)
        count = sum(weight.numel() for weight in self.weights.values())
        self.strength = PENALTY * count / BASE

    def masks(self, step: Step) -> Mapping[Site, Tensor]:
        """See Masking."""
        if self.above() >= self._keep:
            return {site: score.detach() > _logit(THRESHOLD) for site, score in self.scores.items()}
        return self.left(self._keep)

    def left(self, keep: float) -> dict[Site, Tensor]:
        """Masks of a share `keep` of all weights."""
        return largest_written({site: score.detach() for site, score in self.scores.items()}, keep)

    def above(self) -> float:
        """The share of all weights whose sigmoid is above the threshold."""
        counted = sum(int((score.detach() > _logit(THRESHOLD)).sum()) for score in self.scores.values())
        return counted / sum(score.numel() for score in self.scores.values())

    def penalty(self, step: Step) -> Tensor:
        """See Regime."""
        return self.strength * torch.stack([score.sigmoid().mean() for score in self.scores.values()]).mean()

    def stepped(self, step: Step) -> None:
        """See Regime."""
        self.strength *= math.exp(PULL * (self.above() - cubic(step.done, self._keep)) / step.of)

    def state(self) -> Mapping[str, Tensor]:
        """See Regime."""
        return {**super().state(), "strength": torch.tensor(self.strength, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See Regime."""
        super().restore(tensors)
        self.strength = float(tensors["strength"])


class WholeUnits(Movement):
    """Scores of blocks in attention, and of rows and columns in the feed-forward part, which mask heads and neurons.

    A head is worth the mean score of its blocks, a neuron that of its row and its column; heads compare with heads and
    neurons with neurons, over the whole encoder. tokens: as `Sizes` has them.
    """

    def __init__(self, model: Encoder, keep: float, rate: float, tokens: int) -> None:
        self._sizes = model.config.sizes(tokens)
        super().__init__(model, lambda site, weight: self.moved(site, weight.detach()).shape, keep, rate)

    def moved(self, site: Site, product: Tensor) -> Tensor:
        """Sums over the blocks of each head, [heads, rows, columns], or over the weights of each neuron."""
        lines = product.T if site.role in WRITING else product
        if site.role in FEED_FORWARD:
            return lines.sum(1)
        heads = lines.unflatten(0, (-1, self._sizes.head_dim))
        return functional.avg_pool2d(heads, BLOCK, ceil_mode=True, divisor_override=1)

    def masks(self, step: Step) -> Mapping[Site, Tensor]:
        """See Masking."""
        budget = cubic(step.done, self._keep) * self._sizes.total
        return units.masks(units.leading(units.ranks(self.worth()), self._sizes, budget), self._sizes.head_dim)

    def worth(self) -> units.Units:
        """What each head and neuron is worth."""
        layers = range(1 + max(site.layer for site in self.scores))

        def mean(layer: int, roles: Sequence[Role]) -> Tensor:
            scores = [self.scores[Site(layer, role)].detach() for role in roles]
            return torch.cat([score.reshape(len(score), -1) for score in scores], dim=1).mean(1)

        heads, neurons = (torch.stack([mean(layer, roles) for layer in layers]) for roles in (ATTENTION, FEED_FORWARD))
        return units.Units(heads, neurons)


def rate_for(steps: int) -> float:
    """The rate at which scores can fall from 0 to the threshold in a quarter of so many steps; the paper's, or more.

    Adam moves a score by its rate at most, and that is half its peak on average.
    """
    return max(SCORE_RATE, 8 * -_logit(THRESHOLD) / steps)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
