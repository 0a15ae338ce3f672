"""Reweighted proximal pruning: removes what a penalty moves to 0 (Guo et al. 2019, arXiv 1909.12486)."""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.learn.proximal import Proximal
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.magnitude import keep_units, keep_weights
from pgb_core.methods.whole_parts import check_size
from pgb_core.options.proximal import ProximalOptions
from pgb_core.plan import Choice, Site
from pgb_core.run.run import Run, Stage
from pgb_core.search.units import Weights


class ProximalPruning(Method):
    """Train the dense model with proximal steps, keep what is largest within the budget, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        structure = run.options(ProximalOptions).structure
        check_size(run, structure)
        return steps.shaping_stages(run, "proximal", structure, run.config.budget)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return steps.shaping_stages_effort(run)

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        whole, keep = run.options(ProximalOptions).structure == "units", run.config.keep
        tokens = steps.counted_tokens(run)

        def chosen(weights: Weights, regime: Proximal) -> dict[Site, Choice]:
            run.report.note(
                f"proximal: {regime.zeros():.1%} of the weights were 0 at the end of training; "
                f"the largest {keep:.1%} stay"
            )
            return keep_units(run, weights) if whole else keep_weights(weights, keep)

        return steps.shaped_and_cut(run, self.stages(run), lambda model: Proximal(model, whole, keep, tokens), chosen)
