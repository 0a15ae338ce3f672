"""The importance of every weight, computed once and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pgb_core.learn.fisher import fisher
from pgb_core.plan import Site
from pgb_core.run.run import Run, Stage
from pgb_core.search.importance import importance
from pgb_core.search.telling import check_telling
from pgb_core.tasks import Objective
from pgb_core.tasks.features import Batch, batches, token_count

CALIBRATION_TOKENS = 2048  # of a batch of calibration rows
# Expected work, in tokens through the dense model: a gradient of every weight a sample, and a forward and a backward
# pass a token.
SCORE_SAMPLE, SCORE_TOKEN = 25, 3
_TITLE = "Scoring every weight"


def scoring(run: Run, from_predictions: bool) -> Stage:
    """The stage of `scores`, whatever the method does with them."""
    return run.first("scores", run.inputs.calibration_digest, run.config.seed, from_predictions)


def scores(run: Run, stage: Stage, from_predictions: bool) -> dict[Site, Tensor]:
    """Importance of every weight to the loss, [out, in] each, on the CPU.

    A model that is compressed already is scored by how far it is from the dense one: labels are drawn from the dense
    model's predictions. Then the Fisher diagonal is that of the distillation. What is gone has no importance. Raises
    PlanError where nothing can be chosen by what is found.
    """

    def made() -> dict[str, Tensor]:
        calibration, model = run.inputs.calibration, run.source
        objective = run.checkpoint.subject.objective
        generator = torch.Generator().manual_seed(run.config.seed)
        run.report.stage(_TITLE, len(calibration))

        def reported() -> Iterator[Batch]:
            for batch in batches(calibration, CALIBRATION_TOKENS, model.config.pad_id):
                yield batch if run.start is None else _taught(run, batch.to(run.device), objective, generator)
                run.report.advance(len(batch.input_ids))

        drawn = from_predictions and run.start is None
        sums, sites = fisher(model, reported(), objective, run.config.seed, drawn), model.sites()
        found = {str(site): importance(sites[site].to_dense().detach(), sums[site]).cpu() for site in sums}
        gone = {str(site): one for site, one in run.dense.sites().items() if site not in sites}
        return {**found, **{name: torch.zeros(one.out_features, one.in_features) for name, one in gone.items()}}

    found = {Site.parse(name): value.cpu() for name, value in run.lasting(stage, made).items()}
    check_telling(found.values(), "weight", "magnitude")
    return found


def scoring_effort(run: Run) -> dict[str, float]:
    """Expected work of `scores` by stage title, in tokens through the dense model."""
    calibration = run.inputs.calibration
    return {_TITLE: SCORE_SAMPLE * len(calibration) + SCORE_TOKEN * token_count(calibration)}


@torch.no_grad()
def _taught(run: Run, batch: Batch, objective: Objective, generator: torch.Generator) -> Batch:
    """A batch with labels drawn from the dense model's predictions."""
    logits = run.dense(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    return replace(batch, targets=objective.draw(logits, batch.attention_mask.bool(), generator))
