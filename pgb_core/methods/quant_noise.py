"""Quant-Noise: a random part of the weights is rounded in each step, the rest is not (arXiv 2004.07320)."""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.learn.noise import BlockNoise
from pgb_core.learn.regime import Regime
from pgb_core.methods.quantised import Quantised
from pgb_core.model.encoder import Encoder
from pgb_core.options.quant_noise import QuantNoiseOptions
from pgb_core.run.run import Run


class QuantNoise(Quantised):
    """Noise from the first step to the last."""

    def settings(self, run: Run) -> Sequence[object]:
        """See Quantised."""
        options = run.options(QuantNoiseOptions)
        return "quant-noise", options.share, options.block

    def regime(self, run: Run, compact: Encoder) -> Regime:
        """See Quantised."""
        options = run.options(QuantNoiseOptions)
        return BlockNoise(compact, options.share, options.block)
