"""What a method's plan keeps, held against the budget."""

from __future__ import annotations

from pgb_core.run.run import Run
from pgb_core.search.planning import FLOPS_TOKENS

NEAR = 0.01  # a budget that is missed by a larger share of the encoder is told
TOO_LARGE = "the parts of this model are too large to come nearer"


def counted_tokens(run: Run) -> int:
    """Tokens of the input whose products between tokens the budget counts; 0 where it counts weights alone."""
    return FLOPS_TOKENS if run.config.budget == "flops" else 0


def tell_budget(run: Run, share: float, why: str) -> None:
    """Warn where the budget is missed by more than `NEAR`. share: kept, as the budget counts; why: it is not nearer."""
    config = run.config
    if abs(share - config.keep) > NEAR:
        run.report.warn(f"{share:.1%} of the {config.budget} are kept where {config.keep:.1%} was asked: {why}")
