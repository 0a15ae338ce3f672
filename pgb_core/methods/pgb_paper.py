"""PGB as published, as far as it is known: disjoint groups by one threshold (arXiv 2502.03984)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.options.pgb_paper import PGBPaperOptions
from pgb_core.plan import Choice, Keep, Plan, Role, Site, nothing
from pgb_core.run.run import Run, Stage
from pgb_core.search import grouping, threshold
from pgb_core.search.kept import importance_kept
from pgb_core.search.menus import Draft
from pgb_core.search.planning import FLOPS_TOKENS
from pgb_core.threads import threads

SEARCH = 300.0  # expected work


class PGBPaper(Method):
    """Score, find the threshold, permute and group, cut, compensate, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        config, options = run.config, run.options(PGBPaperOptions)
        scores = steps.scoring(run, from_predictions=False)
        plan = scores.then("plan", "pgb-paper", options.model_dump(), config.keep, config.budget)
        return scores, plan, *steps.recovery(run, plan)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return {**steps.scoring_effort(run), "Searching for groups": SEARCH, **steps.recovery_effort(run)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        scores, chosen, *after = self.stages(run)
        plan = run.kept_plan(chosen, lambda: _plan(run, scores, chosen))
        return Compressed(steps.recovered(run, plan, after), plan)


def _plan(run: Run, scores: Stage, chosen: Stage) -> Plan:
    config, options, dense = run.config, run.options(PGBPaperOptions), run.dense.config
    importances = steps.scores(run, scores, from_predictions=False)
    run.report.stage("Searching for groups", dense.layers)
    mixed = 2 * FLOPS_TOKENS * dense.hidden if config.budget == "flops" else 0  # of a layer's products between tokens

    def cost(counts: threshold.Counts) -> float:
        attending = sum(1 for site, count in counts.items() if count and site.role is Role.VALUE)
        return threshold.cost_of(importances, counts) + mixed * attending

    whole = cost(dict.fromkeys(importances, 1))
    found = threshold.within(importances, options.g_max, config.keep * whole, options.tau, cost)
    if not any(found.counts.values()):
        raise PlanError(f"one threshold leaves nothing at keep {config.keep:.1%}; try a larger --keep")
    kept = cost(found.counts) / whole
    run.report.note(f"pgb-paper: threshold {found.tau:.2e}, {kept:.1%} of the {config.budget} kept")
    steps.tell_budget(run, kept, "one threshold for all matrices comes no nearer")
    choices: dict[Site, Choice] = {}
    with threads(1):  # small products, on which threads would wait longer than they work
        for site, importance in importances.items():
            choices[site] = choice(importance, found.counts[site], options.passes)
            if site.role is Role.FFN_OUT:
                run.report.advance()
    plan = run.plan(choices)
    run.records.add(chosen.digest, importance_kept=round(importance_kept(plan, importances), 4))
    return plan


def choice(importance: Tensor, count: int, passes: int) -> Choice:
    """A matrix [out, in] in so many groups; 0 for nothing of it."""
    shape = (importance.shape[0], importance.shape[1])
    if count < 2:
        return Keep(shape) if count else nothing(shape)
    blocks = grouping.disjoint(importance, count, passes)
    return Draft(shape, blocks.rows, blocks.cols).choice()
