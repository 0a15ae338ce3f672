"""Magnitude: removes the smallest heads and neurons, or weights (Han et al. 2015, arXiv 1506.02626).

Either in one shot with compensation, or gradually while the model trains (Zhu and Gupta 2017, arXiv 1710.01878).
"""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.learn.gradual import Gradual
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.whole_parts import check_size, units_left
from pgb_core.options.magnitude import MagnitudeOptions
from pgb_core.plan import Choice, Site
from pgb_core.run.run import Run, Stage
from pgb_core.search.singles import largest_written, single_choices
from pgb_core.search.units import Weights, mean_squares


class Magnitude(Method):
    """Rank by size over the whole encoder, keep the largest within the budget, compensate, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        config, options = run.config, run.options(MagnitudeOptions)
        check_size(run, options.structure)
        if options.schedule == "cubic":
            return steps.shaping_stages(run, "magnitude", options.structure, config.budget)
        plan = run.first("plan", "magnitude", options.structure, config.keep, config.budget)
        return plan, *steps.recovery(run, plan)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        cubic = run.options(MagnitudeOptions).schedule == "cubic"
        return steps.shaping_stages_effort(run) if cubic else steps.recovery_effort(run)

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        config, options = run.config, run.options(MagnitudeOptions)
        whole = options.structure == "units"

        def kept(weights: Weights) -> dict[Site, Choice]:
            return keep_units(run, weights) if whole else keep_weights(weights, config.keep)

        if options.schedule == "cubic":
            tokens = steps.counted_tokens(run)
            return steps.shaped_and_cut(
                run,
                self.stages(run),
                lambda model: Gradual(model, whole, config.keep, tokens),
                lambda weights, regime: kept(weights),
            )
        chosen, *after = self.stages(run)

        plan = run.kept_plan(chosen, lambda: run.plan(kept(steps.weights_of(run.dense))))
        return Compressed(steps.recovered(run, plan, after), plan)


def keep_units(run: Run, weights: Weights) -> dict[Site, Choice]:
    """The heads and neurons whose weights have the largest mean square. weights: [out, in] each."""
    return units_left(run, mean_squares(weights, run.dense.config.head_dim))


def keep_weights(weights: Weights, keep: float) -> dict[Site, Choice]:
    """The largest weights of the whole encoder, a share `keep`; of equal ones the first. weights: [out, in] each."""
    return single_choices(largest_written({site: matrix.abs() for site, matrix in weights.items()}, keep))
