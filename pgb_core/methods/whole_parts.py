"""What methods that remove whole parts share: the sizes of a run's model, what they can reach, and the plan."""

from __future__ import annotations

from pgb_core.errors import PlanError
from pgb_core.methods import steps
from pgb_core.plan import Choice, Plan, Site
from pgb_core.run.run import Run
from pgb_core.search.planning import share
from pgb_core.search.units import Sizes, Units, check_head_fits, choices, fitting


def sizes_of(run: Run) -> Sizes:
    """The costs of the dense model's heads and neurons, counted as the budget counts."""
    return run.dense.config.sizes(steps.counted_tokens(run))


def check_size(run: Run, structure: str) -> None:
    """Raises PlanError when no plan of this structure is as small as was asked for, before anything is scored.

    Of whole heads and neurons one head has to fit. Heads alone may be too few to come down to the share.
    """
    sizes, config = sizes_of(run), run.config
    least = sizes.without_heads + sizes.head / sizes.total
    if structure == "units":
        check_head_fits(sizes, config.keep)
    if structure == "heads" and config.keep < least - steps.NEAR:
        raise PlanError(
            f"--structure heads: {least:.1%} of the {config.budget} stay with one head, and --keep asks for "
            f"{config.keep:.1%}; use --structure units, or a larger --keep"
        )


def units_left(run: Run, scores: Units) -> dict[Site, Choice]:
    """The heads and neurons with the highest scores within the budget, or as many as fit, with a warning."""
    sizes = sizes_of(run)
    kept = fitting(scores, sizes, run.config.keep)
    steps.tell_budget(run, sizes.share(kept), steps.TOO_LARGE)
    return choices(kept, sizes)


def plan_of(run: Run, kept: Units) -> Plan:
    """The plan that keeps these, and no other."""
    return run.plan(choices(kept, sizes_of(run)))


def tell_budget(run: Run, plan: Plan) -> None:
    """Warn where whole parts do not come near the budget."""
    steps.tell_budget(run, share(plan, run.config.budget), f"{run.config.method} removes whole parts")
