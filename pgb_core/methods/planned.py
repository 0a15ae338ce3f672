"""Makes PGB's plan of the requested size, for PGB and for methods that choose no weights. With keep 1 it keeps all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from torch import Tensor

from pgb_core.artifact import FP32
from pgb_core.learn.moments import read_by_writers
from pgb_core.learn.trial import Trial
from pgb_core.methods import steps
from pgb_core.model.surgery import reordered
from pgb_core.options import PGBOptions
from pgb_core.plan import Keep, Plan, Site
from pgb_core.prices import Table, table_of
from pgb_core.run.run import Run, Stage
from pgb_core.search import planning
from pgb_core.search.budget import Option
from pgb_core.search.exchange import corrected
from pgb_core.search.kept import importance_kept
from pgb_core.search.menus import Menu, Recipe
from pgb_core.search.reconstruction import reselected
from pgb_core.tasks.features import Features, batches

TRIED = 4096  # tokens of calibration rows that propose exchanges, and as many that have to agree
MOST_HELD = 1 << 25  # numbers in the streams of these tokens behind every half of a layer, of which four sets are held
MOST_SECONDS = 600.0  # of exchanges
TRIAL_TOKEN = 0.5  # expected work of a loss, a token: half of the model is computed in the mean
MOMENT_TOKEN, SURGERY = 1.5, 4_000.0  # expected work of second moments, a token, and of what is chosen by them
SEARCH = {"auto": 22_000.0, "shared": 20_000.0, "disjoint": 1_500.0, "nested": 2_000.0}  # expected work


def plan_stages(run: Run, options: PGBOptions) -> Sequence[Stage]:
    """The stages of `planned`; the last one's is the plan."""
    config = run.config
    if config.keep == 1:
        return (run.first("plan", "whole"),)
    scores = run.first("scores", run.inputs.calibration_digest, config.seed, options.from_predictions)
    search = ("pgb", options.structure, options.passes, options.g_max, asdict(_table(run, options).prices))
    exchanges = ("exchanges", options.exchanges) if options.exchanges else ()
    units = (options.units_by, config.ridge) if options.units_by != "importance" else ()
    return scores, scores.then("plan", *search, config.keep, config.budget, *exchanges, *units)


def plan_effort(run: Run, options: PGBOptions) -> dict[str, float]:
    """Of `planned`."""
    if run.config.keep == 1:
        return {}
    found = {**steps.scoring_effort(run), "Searching for groups": SEARCH[options.structure]}
    if options.exchanges:
        tokens = sum(len(item.ids) for item in _parts(run)[0])
        found["Correcting the plan by its loss"] = TRIAL_TOKEN * tokens * options.exchanges
    if options.units_by == "reconstruction":
        tokens = sum(len(item.ids) for item in run.inputs.calibration)
        found["Choosing heads and neurons by reconstruction"] = MOMENT_TOKEN * tokens + SURGERY
    return found


def planned(run: Run, options: PGBOptions, stages: Sequence[Stage]) -> Plan:
    """The plan, kept or made. stages: as `plan_stages` has them."""
    if run.config.keep == 1:
        return whole(run)
    return Plan.from_json(run.kept_text(stages[-1], lambda: _searched(run, options, stages).to_json()))


def whole(run: Run) -> Plan:
    """Every matrix stays."""
    sites = run.dense.sites()
    choices = {site: Keep((linear.out_features, linear.in_features)) for site, linear in sites.items()}
    return Plan(run.checkpoint.digest, run.dense.config.head_dim, choices)


def _searched(run: Run, options: PGBOptions, stages: Sequence[Stage]) -> Plan:
    scores, chosen = stages
    config, shape = run.config, run.dense.config
    importances = steps.scores(run, scores, options.from_predictions)
    run.report.stage("Searching for groups", shape.layers)
    table = _table(run, options)
    search = planning.Search(table.prices, options.structure, options.passes, options.g_max)
    menus = planning.make_menus(importances, shape.head_dim, search, lambda layer: run.report.advance())
    correction = partial(_corrected, run, options.exchanges, menus.stream) if options.exchanges else None
    plan = planning.choose(menus, config.keep, run.checkpoint.digest, shape.head_dim, config.budget, correction)
    if options.units_by == "reconstruction":
        plan = _reselected(run, plan, importances)
    run.records.add(chosen.digest, importance_kept=round(importance_kept(plan, importances), 4))
    return replace(plan, made_for=table.name)


def _reselected(run: Run, plan: Plan, importances: Mapping[Site, Tensor]) -> Plan:
    """The plan with heads and neurons chosen by the error of what their sublayer writes."""
    dense, layers = run.dense, run.dense.config.layers
    run.report.stage("Choosing heads and neurons by reconstruction", layers)
    groups = list(batches(run.inputs.calibration, steps.CALIBRATION_TOKENS, dense.config.pad_id))
    moments = read_by_writers(dense, groups, lambda layer: run.report.advance())
    weights = {site: dense.sites()[site].to_dense().detach() for site in moments}
    found, changed = reselected(plan, importances, moments, weights, run.config.ridge)
    run.report.note(f"heads and neurons by reconstruction: other ones in {changed} of {2 * layers} sublayers")
    return found


@dataclass(frozen=True)
class _Tried:
    """The losses of options, by a trial of them on some rows."""

    trial: Trial

    def loss(self, chosen: Sequence[Option[Recipe]]) -> float:
        """See Judge. Sublayers stand in the order of data."""
        return self.trial.loss([option.recipe for option in chosen])

    def settle(self) -> None:
        """See Judge."""
        self.trial.settle()


def _corrected(
    run: Run,
    evaluations: int,
    stream: Sequence[int] | None,
    menus: Sequence[Menu],
    chosen: Sequence[Option[Recipe]],
    most: float,
) -> Sequence[Option[Recipe]]:
    """What is chosen, after exchanges that lower the loss on calibration rows. stream: as `Plan` has it."""
    report, pad_id = run.report, run.dense.config.pad_id
    report.stage("Correcting the plan by its loss", evaluations)
    parts = _parts(run)
    if evaluations < 2 or not all(parts):
        report.warn("--exchanges: needs 2 evaluations and 2 calibration rows or more; the plan stays as it is")
        return chosen
    dense = run.dense if stream is None else reordered(run.dense, stream)
    objective = run.checkpoint.subject.objective
    proposing, agreeing = (
        _Tried(Trial(dense, list(batches(part, steps.CALIBRATION_TOKENS, pad_id)), objective)) for part in parts
    )
    end = time.monotonic() + MOST_SECONDS

    def late() -> bool:
        return time.monotonic() > end

    found = corrected(menus, chosen, most, proposing, agreeing, evaluations, late, report.advance)
    if late():
        report.warn(
            f"--exchanges: stopped after {MOST_SECONDS:g} s and {found.evaluations:,} of {evaluations:,} losses"
        )
    report.note(
        f"plan corrected: {found.kept} of {found.tried} exchanges kept after {found.evaluations:,} losses; on rows "
        f"that had to agree the loss went from {found.before:.4f} to {found.after:.4f}"
    )
    return found.chosen


def _parts(run: Run) -> tuple[list[Features], list[Features]]:
    """Calibration rows that propose exchanges, and those that have to agree."""
    held = run.dense.config.hidden * 2 * run.dense.config.layers
    return parted(run.inputs.calibration, min(TRIED, MOST_HELD // held))


def parted(features: Sequence[Features], tokens: int) -> tuple[list[Features], list[Features]]:
    """Two parts of at most so many tokens each; all inputs of a row are in one part."""
    rows = {row: n for n, row in enumerate(dict.fromkeys(item.row for item in features))}
    found: tuple[list[Features], list[Features]] = ([], [])
    left = [tokens, tokens]
    for item in features:
        part = rows[item.row] % 2
        if len(item.ids) <= left[part]:
            left[part] -= len(item.ids)
            found[part].append(item)
    return found


def _table(run: Run, options: PGBOptions) -> Table:
    """The prices that parts are weighed by. Blocks everywhere suit fp32 alone: int8 would have none of them."""
    config = run.config
    disjoint = options.structure == "disjoint" and config.plan_for is None
    return table_of(FP32 if disjoint else config.prices)
