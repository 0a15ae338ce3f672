"""What methods that remove whole parts share: the sizes of a run's model, what they can reach, and the plan."""

from __future__ import annotations

from pgb_core.errors import PlanError
from pgb_core.plan import Plan, flops
from pgb_core.run.run import Run
from pgb_core.search.heads_and_neurons import Sizes, Units, choices
from pgb_core.search.planning import FLOPS_TOKENS

FAR = 0.01  # from the share that was asked for, which is told


def sizes_of(run: Run) -> Sizes:
    """Of the dense model, counted as the budget counts."""
    shape = run.dense.config
    tokens = FLOPS_TOKENS if run.config.budget == "flops" else 0
    return Sizes(shape.layers, shape.heads, shape.ffn, shape.hidden, shape.head_dim, tokens)


def check_heads_suffice(run: Run, structure: str) -> None:
    """Raises PlanError when heads alone are to go and are too few to come down to the share that was asked for."""
    least, config = sizes_of(run).without_heads, run.config
    if structure == "heads" and config.keep < least - FAR:
        raise PlanError(
            f"--structure heads: {least:.1%} of the {config.budget} stay when every head is gone, and --keep asks for "
            f"{config.keep:.1%}; use --structure units, or a larger --keep"
        )


def plan_of(run: Run, kept: Units) -> Plan:
    """The plan that keeps these, and no other."""
    return Plan(run.checkpoint.digest, run.dense.config.head_dim, choices(kept, sizes_of(run)))


def tell_share(run: Run, plan: Plan) -> None:
    """Warn where whole parts do not come near the share that was asked for."""
    met, config = plan.cost / plan.dense_cost, run.config
    if config.budget == "flops":
        met = flops(plan, FLOPS_TOKENS) / flops(plan, FLOPS_TOKENS, dense=True)
    if abs(met - config.keep) > FAR:
        run.report.warn(
            f"{config.method} removes whole parts: {met:.1%} of the {config.budget} stay where --keep asks for "
            f"{config.keep:.1%}"
        )
