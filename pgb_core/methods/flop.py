"""FLOP: low-rank factors whose directions are gated, under an augmented Lagrangian (arXiv 1910.04732)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pgb_core.learn.rank_gates import RankGates
from pgb_core.learn.regime import Regime
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Linear
from pgb_core.model.linear.low_rank import LowRankLinear
from pgb_core.model.surgery import factorise
from pgb_core.options.flop import FlopOptions
from pgb_core.plan import Choice, Keep, Plan, Site
from pgb_core.plan.kinds import LowRank
from pgb_core.run.run import Run, Stage
from pgb_core.search.planning import FLOPS_TOKENS, share
from pgb_core.search.ranks import cost_of, kept_directions

Directions = Mapping[Site, Tensor]
TRAVEL = 30.0  # sum of the gates' peak rate over the steps: the log alpha of each can change by about half of it


class Flop(Method):
    """Factorise, train with gates until as much is open as the budget allows, cut what is closed, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        options = run.options(FlopOptions)
        shaped = steps.shaping(run, run.first("flop"), options.factor_share, "flop", options.rank_rate, weights(run))
        plan = shaped.then("plan")
        return shaped, plan, steps.finish(run, plan, 1 - options.factor_share)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        share = run.options(FlopOptions).factor_share
        return {**steps.shaping_effort(run, share), **steps.finishing_effort(run, 1 - share)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        options, stages = run.options(FlopOptions), self.stages(run)
        maps: dict[Site, LowRankLinear] = {}
        found: list[RankGates] = []

        rate = options.rank_rate or min(1.0, TRAVEL / steps.step_count(run, options.factor_share))

        def regimes(model: Encoder) -> Sequence[Regime]:
            maps.update(factorise(model))
            found.append(RankGates(maps, weights(run), rate))
            return found

        model = steps.shaped(run, stages[0], options.factor_share, regimes)
        (gates,) = found
        shapes = {site: (one.out_features, one.in_features) for site, one in maps.items()}
        directions = kept_directions(
            {site: (gates.log_alpha[site].detach().cpu(), strengths(one).cpu()) for site, one in maps.items()},
            shapes,
            weights(run) * sum(out * into for out, into in shapes.values()),
        )
        plan = run.kept_plan(stages[1], lambda: plan_of(run, shapes, directions))
        _tell(run, plan)
        compact = steps.cut(run, plan)
        settled = {site: gates.settled(site) for site in maps}
        if not run.config.trains:  # gates that never moved say nothing: what stays, stays whole
            settled = {site: torch.ones_like(gate) for site, gate in settled.items()}
        compact.load_state_dict(_state(compact, model, maps, settled, directions))
        return Compressed(steps.finished(run, compact, stages[2], 1 - options.factor_share), plan)


def weights(run: Run) -> float:
    """Share of the weights that may stay, for the asked share of what the budget counts.

    The products between tokens stay whole, so with FLOPs the weights have to make up for them.
    """
    config, shape = run.config, run.dense.config
    if config.budget == "weights":
        return config.keep
    maps = 4 * shape.hidden**2 + 2 * shape.hidden * shape.ffn
    mixing = 2 * FLOPS_TOKENS * shape.hidden
    return max(0.0, (config.keep * (maps + mixing) - mixing) / maps)


def strengths(one: LowRankLinear) -> Tensor:
    """Squared singular value of each direction for its cost, [directions]: what decides where gates do not."""
    return (one.down.detach().square().sum(1) * one.up.detach().square().sum(0)) / (one.out_features + one.in_features)


def plan_of(run: Run, shapes: Mapping[Site, tuple[int, int]], directions: Directions) -> Plan:
    """The plan that keeps the ranks that were found."""
    choices: dict[Site, Choice] = {}
    for site, shape in shapes.items():
        rank = len(directions[site])
        dense = cost_of(shape, rank) == shape[0] * shape[1]
        choices[site] = Keep(shape) if dense else LowRank(shape, rank)
    return run.plan(choices)


def _tell(run: Run, plan: Plan) -> None:
    """The ranks, and a budget that was missed."""
    low = [choice for choice in plan.choices.values() if isinstance(choice, LowRank)]
    run.report.note(f"{len(low)} of {len(plan.choices)} matrices became two products each")
    steps.tell_budget(run, share(plan, run.config.budget), "every matrix keeps one direction at least")


@torch.no_grad()
def _state(
    compact: Encoder,
    model: Encoder,
    maps: Mapping[Site, LowRankLinear],
    gates: Mapping[Site, Tensor],
    directions: Directions,
) -> dict[str, Tensor]:
    """The tensors of the compact model, from the trained factors and all else that was trained with them.

    gates: of every direction, [directions], 0 to 1.
    """
    trained = model.state_dict()
    found = {name: trained.get(name, value) for name, value in compact.state_dict().items()}
    names = {id(module): name for name, module in compact.named_modules()}
    for site, linear in compact.sites().items():
        for part, value in _parts(linear, maps[site], gates[site], directions[site]).items():
            found[f"{names[id(linear)]}.{part}"] = value
    return found


def _parts(linear: Linear, one: LowRankLinear, gates: Tensor, kept: Tensor) -> dict[str, Tensor]:
    """The parameters of a map, by name."""
    index = kept.to(one.down.device)
    down, up = one.down[index] * gates[index].unsqueeze(1), one.up[:, index]
    if isinstance(linear, LowRankLinear):
        return {"down": down, "up": up, "bias": one.bias}
    return {"weight": (up @ down).unsqueeze(0), "bias": one.bias}
