"""PGB: heads, channels, neurons and blocks by their importance to the loss, in one shot (arXiv 2502.03984)."""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.planned import plan_effort, plan_stages, planned
from pgb_core.options import PGBOptions
from pgb_core.run.run import Run, Stage
from pgb_core.search.kept import importance_kept


class PGB(Method):
    """Score, search for groups, choose within the budget, cut, compensate, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        before = plan_stages(run, run.options(PGBOptions))
        return *before, *steps.recovery(run, before[-1])

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return {**plan_effort(run, run.options(PGBOptions)), **steps.recovery_effort(run)}

    def importance_kept(self, run: Run) -> float | None:
        """See Method."""
        if run.config.keep == 1:
            return None
        options, before = run.options(PGBOptions), plan_stages(run, run.options(PGBOptions))
        plan = planned(run, options, before)
        return importance_kept(plan, steps.scores(run, before[0], options.from_predictions))

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        scores, chosen, *after = self.stages(run)
        plan = planned(run, run.options(PGBOptions), (scores, chosen))
        return Compressed(steps.recovered(run, plan, after), plan)
