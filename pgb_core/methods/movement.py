"""Movement: removes what training moves toward 0 (Sanh et al. 2020, arXiv 2005.07683).

Removes heads and neurons as in Lagunas et al. 2021 (arXiv 2109.04838), or single weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.learn.movement import SCORE_RATE, Hard, Soft, WholeUnits, rate_for
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.whole_parts import check_size, units_left
from pgb_core.model.encoder import Encoder
from pgb_core.options.movement import MovementOptions
from pgb_core.plan import Choice, Site
from pgb_core.run.run import Run, Stage
from pgb_core.search.singles import single_choices
from pgb_core.search.units import Weights, ranks


class MovementPruning(Method):
    """Train the dense model with scores that mask it, keep what has the highest within the budget, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        structure = run.options(MovementOptions).structure
        check_size(run, structure)
        return steps.shaping_stages(run, "movement", structure, _rate(run), run.config.budget)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return steps.shaping_stages_effort(run)

    def compress(self, run: Run) -> Compressed:
        """See Method."""

        def chosen(weights: Weights, regime: WholeUnits | Hard) -> dict[Site, Choice]:
            return _kept(run, regime)

        return steps.shaped_and_cut(run, self.stages(run), lambda model: _regime(run, model), chosen)


def _rate(run: Run) -> float:
    """At which scores learn. Those of `soft` have a way to go, and must get there in a short training too."""
    options = run.options(MovementOptions)
    if options.score_rate is not None:
        return options.score_rate
    return rate_for(steps.step_count(run, steps.SHAPING)) if options.structure == "soft" else SCORE_RATE


def _regime(run: Run, model: Encoder) -> WholeUnits | Hard:
    structure, keep, rate = run.options(MovementOptions).structure, run.config.keep, _rate(run)
    if structure == "units":
        return WholeUnits(model, keep, rate, steps.counted_tokens(run))
    return Soft(model, keep, rate) if structure == "soft" else Hard(model, keep, rate)


def _kept(run: Run, regime: WholeUnits | Hard) -> dict[Site, Choice]:
    keep = run.config.keep
    if isinstance(regime, WholeUnits):
        return units_left(run, ranks(regime.worth()))
    if isinstance(regime, Soft):
        run.report.note(
            f"movement: the scores of {regime.above():.1%} of the weights were above the threshold at the end of "
            f"training (score rate {_rate(run):.2g}); the highest {keep:.1%} stay"
        )
    return single_choices({site: mask.cpu() for site, mask in regime.left(keep).items()})
