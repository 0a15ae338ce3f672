"""Head importance: removes, in rounds, what the loss depends on least (Michel et al. 2019, arXiv 1905.10650)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pgb_core.learn.gates import importance_of_units
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.whole_parts import check_size, plan_of, sizes_of, tell_budget
from pgb_core.options.michel import MichelOptions
from pgb_core.run.run import Run, Stage
from pgb_core.search.telling import check_telling
from pgb_core.search.units import Sizes, Units, by_layer, without_lowest
from pgb_core.tasks.features import Batch, batches, token_count

TITLE = "Scoring heads and neurons in rounds"


class Michel(Method):
    """Score, let the lowest go, score again, down to the budget; compensate, re-finetune."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        config, options = run.config, run.options(MichelOptions)
        check_size(run, options.structure)
        scored = (options.structure, options.share_per_round, run.inputs.calibration_digest, config.seed)
        plan = run.first("plan", "michel", *scored, config.keep, config.budget)
        return plan, *steps.recovery(run, plan)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        tokens = token_count(run.inputs.calibration)
        return {TITLE: len(_targets(run)) * steps.SCORE_TOKEN * tokens, **steps.recovery_effort(run)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        chosen, *after = self.stages(run)
        plan = run.kept_plan(chosen, lambda: plan_of(run, _kept(run)))
        tell_budget(run, plan)
        return Compressed(steps.recovered(run, plan, after), plan)


def rounds(sizes: Sizes, keep: float, neurons: bool, share: float) -> list[tuple[int, int]]:
    """How many heads and neurons are left after each round. neurons: whether some go; share: of each kind, a round."""
    every = (sizes.all_heads, sizes.all_neurons)
    most = [max(1, round(share * count)) for count in every]
    goals, left, found = sizes.counts(keep, neurons), every, []
    while left != goals:
        heads, units = (max(goal, now - step) for goal, now, step in zip(goals, left, most, strict=True))
        left = (heads, units)
        found.append(left)
    return found


def _targets(run: Run) -> list[tuple[int, int]]:
    options = run.options(MichelOptions)
    return rounds(sizes_of(run), run.config.keep, options.structure == "units", options.share_per_round)


def _kept(run: Run) -> Units:
    sizes, targets, calibration = sizes_of(run), _targets(run), run.inputs.calibration
    kept = Units(
        torch.ones(sizes.layers, sizes.heads, dtype=torch.bool),
        torch.ones(sizes.layers, sizes.neurons, dtype=torch.bool),
    )
    run.report.stage(TITLE, len(targets) * len(calibration))

    def reported() -> Iterator[Batch]:
        for batch in batches(calibration, steps.CALIBRATION_TOKENS, run.dense.config.pad_id):
            yield batch
            run.report.advance(len(batch.input_ids))

    for heads, neurons in targets:
        scores = importance_of_units(run.dense, reported(), run.checkpoint.subject.objective, run.config.seed, kept)
        check_telling((scores.heads, scores.neurons), "head or neuron", "magnitude")
        kept = Units(
            without_lowest(by_layer(scores.heads), kept.heads, heads),
            without_lowest(by_layer(scores.neurons), kept.neurons, neurons),
        )
    return kept
