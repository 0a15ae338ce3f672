"""Fixed attention: heads that attend by position get a pattern, not query and key (Raganato et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pgb_core.learn.divergence import divergences
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.options.fixed_attention import FixedAttentionOptions
from pgb_core.plan import Pattern, Plan
from pgb_core.run.run import Run, Stage
from pgb_core.search.patterns import closest, fixed_choices, nearest, patterns_of
from pgb_core.search.planning import share
from pgb_core.tasks.features import batches

PATTERNS = tuple(pattern for pattern in Pattern if pattern is not Pattern.UNIFORM)  # those of the paper
COMPARING = "Comparing attention with fixed patterns"
FLOOR = "it fixes whole heads, all but one of a layer; value, output and feed-forward part stay"


class FixedAttention(Method):
    """Compare every head with every pattern, fix the closest within the budget, compensate, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        config, rows = run.config, run.options(FixedAttentionOptions).judged_rows
        compared = run.first("divergences", "fixed-attention", run.inputs.calibration_digest, rows)
        plan = compared.then("plan", config.keep, config.budget)
        return compared, plan, *steps.recovery(run, plan)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        rows = run.inputs.calibration[: run.options(FixedAttentionOptions).judged_rows]
        return {COMPARING: 2.0 * sum(len(row.ids) for row in rows), **steps.recovery_effort(run)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        compared, chosen, *after = self.stages(run)
        kept = run.lasting(compared, lambda: _compared(run))
        far = {int(layer): table.cpu() for layer, table in sorted(kept.items(), key=lambda one: int(one[0]))}
        plan = run.kept_plan(chosen, lambda: _plan(run, far))
        steps.tell_budget(run, share(plan, run.config.budget), f"this method comes no nearer, as {FLOOR}")
        return Compressed(steps.recovered(run, plan, after), plan, {"fixed_attention": _measured(far)})


def _compared(run: Run) -> dict[str, Tensor]:
    rows = run.inputs.calibration[: run.options(FixedAttentionOptions).judged_rows]
    run.report.stage(COMPARING)
    groups = batches(rows, steps.CALIBRATION_TOKENS, run.dense.config.pad_id)
    return {str(layer): table.cpu() for layer, table in divergences(run.dense, groups, PATTERNS).items()}


def _plan(run: Run, far: dict[int, Tensor]) -> Plan:
    config, head_dim = run.config, run.dense.config.head_dim
    shapes = run.dense.shapes()
    ranked = closest(far, PATTERNS)

    def after(count: int) -> Plan:
        fixed = dict(ranked[:count])
        return run.plan(fixed_choices(shapes, head_dim, fixed), patterns_of(fixed))

    return after(nearest(after, len(ranked), config.keep, config.budget))


def _measured(far: dict[int, Tensor]) -> dict[str, object]:
    """The table as a reader finds it in the manifest: of every layer and head how far it is from each pattern."""
    tables = {
        str(layer): [[round(value, 4) for value in row] for row in table.tolist()] for layer, table in far.items()
    }
    return {"patterns": [str(pattern) for pattern in PATTERNS], "divergences": tables}
