"""Makes PGB's plan of the requested size, for PGB and for methods that choose no weights. With keep 1 it keeps all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from pgb_core.artifact import FP32
from pgb_core.methods import steps
from pgb_core.options import PGBOptions
from pgb_core.plan import Keep, Plan
from pgb_core.prices import Table, table_of
from pgb_core.run.run import Run, Stage
from pgb_core.search import planning

SEARCH = {"auto": 22_000.0, "shared": 20_000.0, "disjoint": 1_500.0, "nested": 2_000.0}  # expected work


def plan_stages(run: Run, options: PGBOptions) -> Sequence[Stage]:
    """The stages of `planned`; the last one's is the plan."""
    config = run.config
    if config.keep == 1:
        return (run.first("plan", "whole"),)
    scores = run.first("scores", run.inputs.calibration_digest, config.seed, options.from_predictions)
    search = ("pgb", options.structure, options.passes, options.g_max, asdict(_table(run, options).prices))
    return scores, scores.then("plan", *search, config.keep, config.budget)


def plan_effort(run: Run, options: PGBOptions) -> dict[str, float]:
    """Of `planned`."""
    if run.config.keep == 1:
        return {}
    return {**steps.scoring_effort(run), "Searching for groups": SEARCH[options.structure]}


def planned(run: Run, options: PGBOptions, stages: Sequence[Stage]) -> Plan:
    """The plan, kept or made. stages: as `plan_stages` has them."""
    if run.config.keep == 1:
        return whole(run)
    scores, chosen = stages
    return Plan.from_json(run.kept_text(chosen, lambda: _searched(run, options, scores).to_json()))


def whole(run: Run) -> Plan:
    """Every matrix stays."""
    sites = run.dense.sites()
    choices = {site: Keep((linear.out_features, linear.in_features)) for site, linear in sites.items()}
    return Plan(run.checkpoint.digest, run.dense.config.head_dim, choices)


def _searched(run: Run, options: PGBOptions, scores: Stage) -> Plan:
    config, shape = run.config, run.dense.config
    importances = steps.scores(run, scores, options.from_predictions)
    run.report.stage("Searching for groups", shape.layers)
    table = _table(run, options)
    search = planning.Search(table.prices, options.structure, options.passes, options.g_max)
    menus = planning.make_menus(importances, shape.head_dim, search, lambda layer: run.report.advance())
    plan = planning.choose(menus, config.keep, run.checkpoint.digest, shape.head_dim, config.budget)
    return replace(plan, made_for=table.name)


def _table(run: Run, options: PGBOptions) -> Table:
    """The prices that parts are weighed by. Blocks everywhere suit fp32 alone: int8 would have none of them."""
    config = run.config
    disjoint = options.structure == "disjoint" and config.plan_for is None
    return table_of(FP32 if disjoint else config.prices)
