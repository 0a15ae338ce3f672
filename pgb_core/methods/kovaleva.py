"""Disabling attention: heads attend to every token alike where that hurts least (Kovaleva et al. 2019)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pgb_core.errors import ConfigError
from pgb_core.learn.disable import Judge, Unit, mean_written, uniform_heads, without_attention, worth
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.model.blocks import Constant
from pgb_core.model.encoder import Encoder
from pgb_core.options.kovaleva import KovalevaOptions
from pgb_core.plan import Pattern, Plan
from pgb_core.run.run import Run, Stage
from pgb_core.search.patterns import fixed_choices, nearest, patterns_of
from pgb_core.search.planning import share
from pgb_core.search.telling import check_telling
from pgb_core.tasks.features import Batch, Features, batches

JUDGING, AGAIN = "Judging what attention is worth", "Judging what is left of it"
FLOORS = {
    "heads": "it disables whole heads; value, output and feed-forward part stay (--disable layers goes further)",
    "layers": "it disables the attention of whole layers, all but one; the feed-forward part stays",
}


class Kovaleva(Method):
    """Try every head, disable those that are worth the least, try the others again, to the budget; then recover."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method. Raises ConfigError when a loss is asked for and rows have no labels."""
        config, options = run.config, run.options(KovalevaOptions)
        if options.uses_labels and any(row.target is None for row in _rows(run)):
            raise ConfigError("judged_by loss needs labels of every calibration row; use --judged-by agreement")
        tried = (options.disable, options.judged_by, options.judged_rows)
        judged = run.first("worth", "kovaleva", run.inputs.calibration_digest, *tried)
        plan = judged.then("plan", options.judged_again, config.keep, config.budget)
        return judged, plan, *steps.recovery(run, plan)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method. A trial runs half of the layers in the mean, and half of the units are left in the mean."""
        rounds = math.ceil(1 / run.options(KovalevaOptions).judged_again)
        once = len(_units(run)) / 2 * sum(len(row.ids) for row in _rows(run))
        return {JUDGING: once, AGAIN: once * (rounds - 1) / 2, **steps.recovery_effort(run)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        config, options = run.config, run.options(KovalevaOptions)
        judged, chosen, *after = self.stages(run)
        table = run.lasting(judged, lambda: {"worth": _table(run)})["worth"].cpu()
        check_telling([table], "attention", "magnitude")
        plan = run.kept_plan(chosen, lambda: _plan(run, table))
        why = f"this method comes no nearer, as {FLOORS[options.disable]}"
        steps.tell_budget(run, share(plan, config.budget), why)
        return Compressed(steps.recovered(run, plan, after), plan, {"worth": _measured(options, table)})


def _rows(run: Run) -> list[Features]:
    """Those that trials are judged on."""
    return run.inputs.calibration[: run.options(KovalevaOptions).judged_rows]


def _units(run: Run) -> list[Unit]:
    """All that may be disabled."""
    shape = run.dense.config
    if run.options(KovalevaOptions).disable == "layers":
        return [(layer,) for layer in range(shape.layers)]
    return [(layer, head) for layer in range(shape.layers) for head in range(shape.heads)]


def _table(run: Run) -> Tensor:
    """What each unit of the dense model is worth by itself, [layers, heads], or [layers, 1]."""
    run.report.stage(JUDGING, len(_rows(run)))
    found = _worth(run, run.dense)
    return torch.tensor([found[unit] for unit in _units(run)]).view(run.dense.config.layers, -1)


def _worth(run: Run, model: Encoder) -> dict[Unit, float]:
    """What each unit that a model still has is worth to it; heads are numbered among those that learn."""
    groups = list(batches(_rows(run), steps.CALIBRATION_TOKENS, model.config.pad_id))
    heads = run.options(KovalevaOptions).disable == "heads"
    trials = uniform_heads if heads else without_attention(mean_written(run.dense, groups))
    return worth(model, groups, _judge(run, groups), trials, run.report.advance)


@torch.no_grad()
def _judge(run: Run, groups: Sequence[Batch]) -> Judge:
    """By the loss on labels, or by how far predictions are from the dense model's."""
    objective = run.checkpoint.subject.objective
    groups = [batch.to(run.device) for batch in groups]
    masks = [batch.attention_mask.bool() for batch in groups]
    if run.options(KovalevaOptions).judged_by == "loss":
        targets = [batch.targets for batch in groups if batch.targets is not None]
        return lambda number, logits: objective.loss(logits, targets[number], masks[number])
    goals = [run.dense(batch.input_ids, batch.attention_mask, batch.token_type_ids) for batch in groups]
    return lambda number, logits: objective.distil(logits, goals[number], masks[number])


def _plan(run: Run, table: Tensor) -> Plan:
    """Disable what is worth the least, and judge what is left again, until the budget is met as nearly as it can be."""
    config, options, units = run.config, run.options(KovalevaOptions), _units(run)
    # Where no token sees another, every input has the same answer.
    most = len(units) - (options.disable == "layers")
    wanted = nearest(lambda count: _after(run, units[:count]), most, config.keep, config.budget)
    step = max(1, round(options.judged_again * len(units)))
    found = dict(zip(units, table.flatten().tolist(), strict=True))
    disabled: list[Unit] = []
    if wanted > step:
        run.report.stage(AGAIN, (math.ceil(wanted / step) - 1) * len(_rows(run)))
    while True:
        count = min(step, wanted - len(disabled))
        disabled += heapq.nsmallest(count, found, key=lambda unit: (found[unit], unit))
        plan = _after(run, disabled)
        if len(disabled) == wanted:
            return plan
        left = [unit for unit in units if unit not in disabled]
        again = _worth(run, _disabled(run, plan))
        found = dict(zip(left, (again[unit] for unit in sorted(again)), strict=True))


def _after(run: Run, disabled: Sequence[Unit]) -> Plan:
    """The plan that is left without these."""
    heads = {(unit[0], unit[1]): Pattern.UNIFORM for unit in disabled if len(unit) == 2}
    layers = {unit[0] for unit in disabled if len(unit) == 1}
    return run.plan(fixed_choices(run.dense.shapes(), run.dense.config.head_dim, heads, layers), patterns_of(heads))


def _disabled(run: Run, plan: Plan) -> Encoder:
    """What a plan leaves of the dense model; where attention is gone, its mean is there."""
    model = steps.cut(run, plan)
    groups = list(batches(_rows(run), steps.CALIBRATION_TOKENS, model.config.pad_id))
    means = mean_written(run.dense, groups)
    with torch.no_grad():
        for layer in model.layers:
            if isinstance(layer.attention, Constant):
                layer.attention.bias.copy_(means[layer.index])
    return model


def _measured(options: KovalevaOptions, table: Tensor) -> dict[str, object]:
    """The table as a reader finds it in the manifest: a row a layer, how much worse the dense model is without each."""
    rows = [[round(value, 6) for value in row] for row in table.tolist()]
    return {"disable": options.disable, "judged_by": options.judged_by, "table": rows}
