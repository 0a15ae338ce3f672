"""PGB: heads, channels, neurons and blocks by their importance to the loss, in one shot (arXiv 2502.03984)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from pgb_core.artifact import FP32
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.options import PGBOptions
from pgb_core.plan import Plan
from pgb_core.prices import Table, table_of
from pgb_core.run.run import Run, Stage
from pgb_core.search import planning

SEARCH = {"auto": 22_000.0, "shared": 20_000.0, "disjoint": 1_500.0, "nested": 2_000.0}  # expected work


class PGB(Method):
    """Score, search for groups, choose within the budget, cut, compensate, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        config, options = run.config, run.options(PGBOptions)
        scores = run.first("scores", run.inputs.calibration_digest, config.seed, options.from_predictions)
        search = ("pgb", options.structure, options.passes, options.g_max, asdict(_table(run).prices))
        plan = scores.then("plan", *search, config.keep, config.budget)
        return scores, plan, *steps.recovery(run, plan)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        search = {"Searching for groups": SEARCH[run.options(PGBOptions).structure]}
        return {**steps.scoring_effort(run), **search, **steps.recovery_effort(run)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        scores, chosen, *after = self.stages(run)
        plan = Plan.from_json(run.kept_text(chosen, lambda: _plan(run, scores).to_json()))
        return Compressed(steps.recovered(run, plan, after), plan)


def _plan(run: Run, scores: Stage) -> Plan:
    config, options, shape = run.config, run.options(PGBOptions), run.dense.config
    importances = steps.scores(run, scores, options.from_predictions)
    run.report.stage("Searching for groups", shape.layers)
    table = _table(run)
    search = planning.Search(table.prices, options.structure, options.passes, options.g_max)
    menus = planning.make_menus(importances, shape.head_dim, search, lambda layer: run.report.advance())
    plan = planning.choose(menus, config.keep, run.checkpoint.digest, shape.head_dim, config.budget)
    return replace(plan, made_for=table.name)


def _table(run: Run) -> Table:
    """The prices that parts are weighed by. Blocks everywhere suit fp32 alone: int8 would have none of them."""
    config = run.config
    disjoint = run.options(PGBOptions).structure == "disjoint" and config.plan_for is None
    return table_of(FP32 if disjoint else config.prices)
