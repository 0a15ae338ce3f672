"""Gradual magnitude pruning: the smallest weights are set to 0, more of them over time (Zhu and Gupta 2017)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pgb_core.learn.masking import Masking, cubic
from pgb_core.learn.regime import Step
from pgb_core.model.encoder import Encoder
from pgb_core.plan import Site
from pgb_core.search import units
from pgb_core.search.singles import largest


class Gradual(Masking):
    """Masks by the size that weights have at each step, over the whole encoder.

    whole: heads and neurons, by the mean square of their weights; single weights otherwise. tokens: as `Sizes` has
    them.
    """

    def __init__(self, model: Encoder, whole: bool, keep: float, tokens: int) -> None:
        super().__init__(model)
        self._whole = whole
        self._keep = keep
        self._sizes = model.config.sizes(tokens)

    def masks(self, step: Step) -> Mapping[Site, Tensor]:
        """See Masking."""
        keep = cubic(step.done, self._keep)
        weights = {site: weight.detach() for site, weight in self.weights.items()}
        if not self._whole:
            return largest({site: weight.abs() for site, weight in weights.items()}, keep)
        scores = units.mean_squares(weights, self._sizes.head_dim)
        return units.masks(units.leading(scores, self._sizes, keep * self._sizes.total), self._sizes.head_dim)
