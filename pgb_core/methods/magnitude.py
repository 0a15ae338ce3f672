"""Magnitude: what is small goes, heads and neurons or single weights (Han et al. 2015, arXiv 1506.02626)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.model.linear.masked import packed
from pgb_core.options.magnitude import MagnitudeOptions
from pgb_core.plan import FEED_FORWARD, WRITING, Choice, Group, Grouping, Plan, Role, Site, nothing
from pgb_core.plan.kinds import Masked
from pgb_core.run.run import Run, Stage
from pgb_core.search.importance import by_unit
from pgb_core.search.planning import FLOPS_TOKENS

Weights = Mapping[Site, Tensor]


class Magnitude(Method):
    """Rank by size over the whole encoder, keep the largest within the budget, compensate, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        config, structure = run.config, run.options(MagnitudeOptions).structure
        plan = run.first("plan", "magnitude", structure, config.keep, config.budget)
        return plan, *steps.recovery(run, plan)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return steps.recovery_effort(run)

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        chosen, *after = self.stages(run)
        plan = Plan.from_json(run.kept_text(chosen, lambda: _plan(run).to_json()))
        return Compressed(steps.recovered(run, plan, after), plan)


def _plan(run: Run) -> Plan:
    config, head_dim = run.config, run.dense.config.head_dim
    weights = {site: linear.to_dense().detach().float().cpu() for site, linear in run.dense.sites().items()}
    if run.options(MagnitudeOptions).structure == "units":
        tokens = FLOPS_TOKENS if config.budget == "flops" else 0
        choices = keep_units(weights, head_dim, config.keep, tokens)
    else:
        choices = keep_weights(weights, config.keep)
    return Plan(run.checkpoint.digest, head_dim, choices)


@dataclass(frozen=True)
class Unit:
    """A head or a neuron. size: mean square of its weights; cost: what a budget counts of it."""

    layer: int
    kind: Role
    index: int
    size: float
    cost: int


def keep_units(weights: Weights, head_dim: int, keep: float, tokens: int = 0) -> dict[Site, Choice]:
    """The heads and neurons whose weights are largest on average, over all layers, within a share `keep`.

    weights: [out, in] each. tokens: of an input whose products between tokens count too; 0 for weights alone.
    Raises PlanError when no such choice comes within one percent of the share.
    """
    every = list(units(weights, head_dim, tokens))
    budget, left = keep * sum(unit.cost for unit in every), []
    for unit in sorted(every, key=lambda unit: -unit.size):
        if unit.cost <= budget:
            budget -= unit.cost
            left.append(unit)
    if budget > 0.01 * sum(unit.cost for unit in every):
        raise PlanError(f"heads and neurons are too large to keep {keep:.1%} of the model; try another --keep")
    kept: dict[tuple[int, Role], list[int]] = {}
    for unit in left:
        kept.setdefault((unit.layer, unit.kind), []).append(unit.index)
    return {site: _choice(site, matrix, kept, head_dim) for site, matrix in weights.items()}


def keep_weights(weights: Weights, keep: float) -> dict[Site, Choice]:
    """The largest weights of the whole encoder, a share `keep`; of equal ones the first. weights: [out, in] each.

    A sublayer that writes nothing any more is dropped, and what was kept of it is not counted.
    """
    sizes = torch.cat([matrix.abs().flatten() for matrix in weights.values()])
    count = int(keep * len(sizes))
    smallest = sizes.kthvalue(len(sizes) - count + 1).values  # sorting all of them takes many times their memory
    mask = sizes > smallest
    mask[(sizes == smallest).nonzero().flatten()[: count - int(mask.sum())]] = True
    masks = dict(zip(weights, mask.split([matrix.numel() for matrix in weights.values()]), strict=True))
    found: dict[Site, Choice] = {}
    for site, matrix in weights.items():
        shape = (matrix.shape[0], matrix.shape[1])
        writer = Role.FFN_OUT if site.role in FEED_FORWARD else Role.ATTENTION_OUTPUT
        written = bool(masks[Site(site.layer, writer)].any())
        found[site] = Masked(shape, packed(masks[site].view_as(matrix))) if written else nothing(shape)
    return found


def units(weights: Weights, head_dim: int, tokens: int) -> Iterator[Unit]:
    """Every head and neuron of an encoder; parameters as `keep_units` has them."""
    for layer in range(1 + max(site.layer for site in weights)):
        w = {role: weights[Site(layer, role)] for role in Role}
        reading = torch.cat([w[Role.QUERY], w[Role.KEY], w[Role.VALUE], w[Role.ATTENTION_OUTPUT].T], dim=1)
        heads = by_unit(reading.square(), head_dim).sum(1)
        neurons = w[Role.FFN_IN].square().sum(1) + w[Role.FFN_OUT].square().sum(0)
        head, neuron = head_dim * reading.shape[1], w[Role.FFN_IN].shape[1] + w[Role.FFN_OUT].shape[0]
        for index, power in enumerate(heads.tolist()):
            yield Unit(layer, Role.VALUE, index, power / head, head + 2 * head_dim * tokens)
        for index, power in enumerate(neurons.tolist()):
            yield Unit(layer, Role.FFN_IN, index, power / neuron, neuron)


def _choice(site: Site, matrix: Tensor, kept: Mapping[tuple[int, Role], list[int]], head_dim: int) -> Choice:
    """What is left of a matrix when these heads and neurons are."""
    shape = (matrix.shape[0], matrix.shape[1])
    feeds = site.role in FEED_FORWARD
    indices = sorted(kept.get((site.layer, Role.FFN_IN if feeds else Role.VALUE), []))
    if not indices:
        return nothing(shape)
    lines = indices if feeds else [head_dim * head + n for head in indices for n in range(head_dim)]
    if site.role in WRITING:
        return Grouping((Group(tuple(range(shape[0])), tuple(lines)),), shape)
    return Grouping((Group(tuple(lines), tuple(range(shape[1]))),), shape)
