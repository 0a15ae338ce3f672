"""Masks during training: some weights are 0 in every pass, and more of them from step to step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from pgb_core.learn.regime import Regime, Step
from pgb_core.model.encoder import Encoder
from pgb_core.plan import Site

FIRST, LAST = 0.1, 0.8  # shares of a training between which what is kept falls


def cubic(done: float, keep: float) -> float:
    """The share that is kept when a share `done` of a training lies behind: 1 at first, `keep` at last.

    It falls as a cubic between `FIRST` and `LAST`, fast and then ever more slowly (Zhu and Gupta 2017, arXiv
    1710.01878).
    """
    left = 1 - min(1.0, max(0.0, (done - FIRST) / (LAST - FIRST)))
    return keep + (1 - keep) * left**3


class Masking(Regime):
    """Weights are multiplied by masks in the pass; the gradients of what is masked are 0.

    Steps behind the pass see the whole weights. A subclass says which masks.
    """

    def __init__(self, model: Encoder) -> None:
        self.weights: dict[Site, nn.Parameter] = {
            site: linear.get_parameter("weight") for site, linear in model.sites().items()
        }
        self._masks: Mapping[Site, Tensor] = {}

    def masks(self, step: Step) -> Mapping[Site, Tensor]:
        """Masks of 0 and 1, for the matrices that have one; each of a shape that fits [out, in]."""
        raise NotImplementedError

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        self._masks = self.masks(step)
        whole = {site: self.weights[site].data for site in self._masks}
        try:
            for site, mask in self._masks.items():
                self.weights[site].data = whole[site] * mask
            yield
        finally:
            for site, data in whole.items():
                self.weights[site].data = data

    def graded(self, step: Step) -> None:
        """See Regime."""
        for site, mask in self._masks.items():
            grad = self.weights[site].grad
            if grad is not None:
                grad.mul_(mask)
