"""Gates on the directions of factorised maps, under a budget that an augmented Lagrangian keeps (Wang et al. 2020).

FLOP (arXiv 1910.04732) writes each matrix as two factors with a gate for each direction between them. The gates are
Hard Concrete. Two multipliers, which learn by gradient ascent, hold the share of the weights that is expected to stay
at a target. The target falls linearly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pgb_core.learn.noise import replaced
from pgb_core.learn.regime import Regime, Step
from pgb_core.model.linear.low_rank import LowRankLinear
from pgb_core.plan import Site
from pgb_core.search.hard_concrete import open_probability, sampled, settled

OPEN = 2.2  # log alpha of every gate at first: that of a gate which is expected to be 0.9 open
FALLING = 0.5  # share of the steps in which the target falls
TEMPERATURE = 1.0  # of the draws
FASTER = 5.0  # times the gates' rate is that of the multipliers, as trainings here are short


class RankGates(Regime):
    """Gates of factorised maps. keep: share of the dense maps' weights at the end; rate: peak rate of the gates."""

    def __init__(self, maps: Mapping[Site, LowRankLinear], keep: float, rate: float) -> None:
        self._maps = maps
        self._keep = keep
        self._rate = rate
        self._dense = sum(one.out_features * one.in_features for one in maps.values())
        self.log_alpha = {
            site: nn.Parameter(torch.full((len(one.down),), OPEN, device=one.down.device)) for site, one in maps.items()
        }
        self._multipliers = nn.Parameter(torch.zeros(2, device=next(iter(self.log_alpha.values())).device))
        self._drawn: dict[Site, Tensor] = {}
        self._from = float(self.size.detach())

    @property
    def size(self) -> Tensor:
        """Weights that are expected to stay, as a share of the dense maps'."""
        parts = [
            open_probability(self.log_alpha[site], TEMPERATURE).sum() * (one.out_features + one.in_features)
            for site, one in self._maps.items()
        ]
        return torch.stack(parts).sum() / self._dense

    def target(self, step: Step) -> float:
        """What the size should be."""
        return self._from + (self._keep - self._from) * min(1.0, step.done / FALLING)

    def settled(self, site: Site) -> Tensor:
        """The gates of a map without chance, [directions], 0 to 1."""
        return settled(self.log_alpha[site].detach())

    def groups(self) -> Sequence[dict[str, Any]]:
        """See Regime."""
        return (
            {"params": list(self.log_alpha.values()), "lr": self._rate},
            {"params": [self._multipliers], "lr": FASTER * self._rate, "maximize": True},
        )

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        generator = torch.Generator().manual_seed(step.draw)
        gated = []
        for site, one in self._maps.items():
            log_alpha = self.log_alpha[site]
            uniform = torch.rand(log_alpha.shape, generator=generator).to(log_alpha.device)
            self._drawn[site] = sampled(log_alpha, uniform, TEMPERATURE)
            gated.append((one.down, one.down.data * self._drawn[site].detach().unsqueeze(1)))
        with replaced(gated):
            yield

    def penalty(self, step: Step) -> Tensor:
        """See Regime."""
        beyond = self.size - self.target(step)
        return self._multipliers[0] * beyond + self._multipliers[1] * beyond.square()

    def graded(self, step: Step) -> None:
        """See Regime. The gradient of a gated matrix is that of its gates, and of itself."""
        for site, one in self._maps.items():
            gradient, gates = one.down.grad, self._drawn.pop(site)
            if gradient is not None:
                gates.backward((gradient * one.down.detach()).sum(1))
                gradient.mul_(gates.detach().unsqueeze(1))

    def state(self) -> Mapping[str, Tensor]:
        """See Regime."""
        gates = {str(site): log_alpha.detach() for site, log_alpha in self.log_alpha.items()}
        return {**gates, "multipliers": self._multipliers.detach()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See Regime."""
        self._multipliers.data.copy_(tensors["multipliers"])
        for site, log_alpha in self.log_alpha.items():
            log_alpha.data.copy_(tensors[str(site)])
