"""Q8BERT: weights and activations are rounded as in int8 while the model trains (arXiv 1910.06188)."""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.learn.aware import Aware
from pgb_core.learn.regime import Regime
from pgb_core.methods.quantised import Quantised
from pgb_core.model.encoder import Encoder
from pgb_core.options.q8bert import Q8BertOptions
from pgb_core.run.run import Run


class Q8Bert(Quantised):
    """Every map is rounded at every step."""

    def settings(self, run: Run) -> Sequence[object]:
        """See Quantised."""
        return "q8bert", run.options(Q8BertOptions).ema_decay

    def regime(self, run: Run, compact: Encoder) -> Regime:
        """See Quantised."""
        return Aware(compact, run.options(Q8BertOptions).ema_decay)
