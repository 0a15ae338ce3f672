"""Gates on heads that training closes (Voita et al. 2019, arXiv 1905.09418)."""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.learn.hard_gates import HardGates
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.whole_parts import check_size, plan_of, sizes_of, tell_budget
from pgb_core.model.encoder import Encoder
from pgb_core.options.voita import VoitaOptions
from pgb_core.run.run import Run, Stage
from pgb_core.search.units import Units, highest

GATED = 0.5  # share of the epochs that are trained with gates; the rest without what they closed
UNSETTLED = 0.1  # more of the encoder is open than there should be, which is told


class Voita(Method):
    """Train with gates, keep what is open within the budget, cut it from the trained model, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        config, options = run.config, run.options(VoitaOptions)
        check_size(run, options.structure)
        begun = run.first("begun", "voita", config.budget)
        shaped = steps.shaping(run, begun, GATED, options.structure, options.gate_penalty, options.gate_rate)
        plan = shaped.then("plan")
        return shaped, plan, steps.finish(run, plan, 1 - GATED)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return {**steps.shaping_effort(run, GATED), **steps.finishing_effort(run, 1 - GATED)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        shaping, chosen, finish = self.stages(run)
        options, sizes = run.options(VoitaOptions), sizes_of(run)
        both = options.structure == "units"
        gates: list[HardGates] = []

        def regimes(model: Encoder) -> list[HardGates]:
            gates.append(
                HardGates(model, sizes, run.config.keep, options.gate_penalty, options.gate_rate, neurons=both)
            )
            return gates

        model = steps.shaped(run, shaping, GATED, regimes)
        (trained,) = gates
        unsettled = trained.open > run.config.keep + UNSETTLED
        told = run.report.warn if unsettled else run.report.note
        more = "; they need more --epochs or a larger --gate-rate" if unsettled else ""
        told(f"gates settled with {trained.open:.1%} of the {run.config.budget} open{more}")
        plan = run.kept_plan(chosen, lambda: plan_of(run, _kept(run, trained.scores)))
        tell_budget(run, plan)
        compact = steps.cut(run, plan, model)
        return Compressed(steps.finished(run, compact, finish, 1 - GATED), plan)


def _kept(run: Run, scores: Units) -> Units:
    """The likeliest open. Of heads alone as many as come nearest to the budget, and every neuron."""
    sizes, keep = sizes_of(run), run.config.keep
    if run.options(VoitaOptions).structure == "units":
        return highest(scores, sizes, keep * sizes.total)
    heads, neurons = sizes.counts(keep, neurons=False)
    return highest(scores, sizes, heads * sizes.head + neurons * sizes.neuron)
