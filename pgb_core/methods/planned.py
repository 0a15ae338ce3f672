"""Makes PGB's plan of the requested size, for PGB and for methods that choose no weights. With keep 1 it keeps all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from torch import Tensor

from pgb_core.artifact import FP32
from pgb_core.learn.moments import read_by_writers
from pgb_core.methods import steps
from pgb_core.options import PGBOptions
from pgb_core.plan import Plan, Site
from pgb_core.prices import Table, table_of
from pgb_core.run.run import Run, Stage
from pgb_core.search import planning
from pgb_core.search.kept import importance_kept
from pgb_core.search.prices import Prices
from pgb_core.search.pull import stronger
from pgb_core.search.reconstruction import reselected
from pgb_core.tasks.features import batches, token_count

MOMENT_TOKEN, SURGERY = 1.5, 4_000.0  # expected work of second moments, a token, and of what is chosen by them
SEARCH = {"auto": 22_000.0, "shared": 20_000.0, "disjoint": 1_500.0, "nested": 2_000.0}  # expected work


def plan_stages(run: Run, options: PGBOptions) -> Sequence[Stage]:
    """The stages of `planned`; the last one's is the plan."""
    config = run.config
    if config.keep == 1:
        return (run.first("plan", "whole"),)
    scores = steps.scoring(run, options.from_predictions)
    search = ("pgb", options.structure, options.passes, options.g_max, asdict(_prices(run, options)))
    units = (options.units_by, config.ridge) if options.units_by != "importance" else ()
    return scores, scores.then("plan", *search, config.keep, config.budget, *units)


def plan_effort(run: Run, options: PGBOptions) -> dict[str, float]:
    """Expected work of `planned` by stage title, in tokens through the dense model."""
    if run.config.keep == 1:
        return {}
    found = {**steps.scoring_effort(run), "Searching for groups": SEARCH[options.structure]}
    if options.units_by == "reconstruction":
        tokens = token_count(run.inputs.calibration)
        found["Choosing heads and neurons by reconstruction"] = MOMENT_TOKEN * tokens + SURGERY
    return found


def planned(run: Run, options: PGBOptions, stages: Sequence[Stage]) -> Plan:
    """The plan, kept or made. stages: as `plan_stages` has them."""
    if run.config.keep == 1:
        return whole(run)
    plan = run.kept_plan(stages[-1], lambda: _searched(run, options, stages))
    return replace(plan, made_for=_table(run, options).name)  # prices that count nothing are the same for every form


def whole(run: Run) -> Plan:
    """Every matrix stays."""
    return Plan.whole(run.checkpoint.digest, run.dense.config.head_dim, run.dense.shapes())


def _searched(run: Run, options: PGBOptions, stages: Sequence[Stage]) -> Plan:
    scores, chosen = stages
    config, shape = run.config, run.dense.config
    importances = steps.scores(run, scores, options.from_predictions)
    run.report.stage("Searching for groups", shape.layers)
    search = planning.Search(_prices(run, options), options.structure, options.passes, options.g_max)
    menus = planning.make_menus(importances, shape.head_dim, search, lambda layer: run.report.advance())
    plan = planning.choose(menus, config.keep, run.checkpoint.digest, shape.head_dim, config.budget)
    steps.tell_budget(run, planning.share(plan, config.budget), steps.TOO_LARGE)
    if options.units_by == "reconstruction":
        plan = _reselected(run, plan, importances)
    run.records.add(chosen.digest, importance_kept=round(importance_kept(plan, importances), 4))
    return plan


def _reselected(run: Run, plan: Plan, importances: Mapping[Site, Tensor]) -> Plan:
    """The plan with heads and neurons chosen by the error of what their sublayer writes."""
    dense, layers = run.dense, run.dense.config.layers
    run.report.stage("Choosing heads and neurons by reconstruction", layers)
    groups = list(batches(run.inputs.calibration, steps.CALIBRATION_TOKENS, dense.config.pad_id))
    moments = read_by_writers(dense, groups, lambda layer: run.report.advance())
    weights = {site: dense.sites()[site].to_dense().detach() for site in moments}
    asked, rows = run.config.ridge, len(run.inputs.calibration)
    found, changed, taken = reselected(plan, importances, moments, weights, asked)
    if taken > asked:
        run.report.warn(stronger(asked, taken, rows))
    run.report.note(f"heads and neurons by reconstruction: other ones in {changed} of {2 * layers} sublayers")
    return found


def _prices(run: Run, options: PGBOptions) -> Prices:
    return _table(run, options).counted(options.price_weight)


def _table(run: Run, options: PGBOptions) -> Table:
    """The prices that parts are weighed by. Blocks everywhere suit fp32 alone: int8 would have none of them."""
    config = run.config
    disjoint = options.structure == "disjoint" and config.plan_for is None
    return table_of(FP32 if disjoint else config.prices)
