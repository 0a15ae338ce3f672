"""Stages that methods share: scores, compensation, re-finetuning. Each is done once and kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from pgb_core.learn.compensate import compensate
from pgb_core.learn.finetune import Schedule, Trainer, learning_rate
from pgb_core.learn.fisher import fisher
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan, ordered
from pgb_core.plan import Plan, Site
from pgb_core.run.run import Run, Stage
from pgb_core.run.workspace import to_device
from pgb_core.search.importance import importance
from pgb_core.tasks.features import Batch, Features, batches

CALIBRATION_TOKENS = 2048
# Expected work, in tokens through the dense model. A gradient of every weight a sample, and a forward and a backward
# pass a token; one pass of either model and the products of moments a token, and the solutions; a forward and a
# backward pass of what is left, and the optimiser.
SCORE_SAMPLE, SCORE_TOKEN = 25, 3
COMPENSATE_TOKEN, COMPENSATE = 2.5, 6_000
TRAIN_TOKEN = 3.5


def scores(run: Run, stage: Stage, from_predictions: bool) -> dict[Site, Tensor]:
    """Importance of every weight to the loss, [out, in] each, on the CPU."""

    def made() -> dict[str, Tensor]:
        calibration, dense = run.inputs.calibration, run.dense
        run.report.stage("Scoring every weight", len(calibration))

        def reported() -> Iterator[Batch]:
            for batch in batches(calibration, CALIBRATION_TOKENS, dense.config.pad_id):
                yield batch
                run.report.advance(len(batch.input_ids))

        objective = run.checkpoint.subject.objective
        sums, sites = fisher(dense, reported(), objective, run.config.seed, from_predictions), dense.sites()
        return {str(site): importance(sites[site].to_dense().detach(), sums[site]).cpu() for site in sums}

    return {Site.parse(name): value.cpu() for name, value in run.kept(stage, made).items()}


def scoring_effort(run: Run) -> dict[str, float]:
    """Of `scores`."""
    inputs = run.inputs
    return {"Scoring every weight": SCORE_SAMPLE * len(inputs.calibration) + SCORE_TOKEN * _tokens(inputs.calibration)}


def _tokens(features: Sequence[Features]) -> int:
    return sum(len(item.ids) for item in features)


def recovery(run: Run, plan: Stage) -> Sequence[Stage]:
    """The stages of `recovered`, after the one that made the plan."""
    config, inputs = run.config, run.inputs
    compensated = plan.then("compensated", inputs.calibration_digest, config.ridge)
    learned = (config.epochs, config.tokens, config.learning_rate, config.distill, config.train is not None)
    noise = (config.noise,) if config.noisy else ()
    finetuned = (inputs.training_digest, config.seed, config.keep, *learned, *noise)
    return compensated, compensated.then("finetuned", *finetuned)


def recovery_effort(run: Run) -> dict[str, float]:
    """Of `recovered`."""
    config, inputs = run.config, run.inputs
    found = {"Compensating layer by layer": COMPENSATE + COMPENSATE_TOKEN * _tokens(inputs.calibration)}
    if config.epochs:
        passes = config.epochs * _tokens(inputs.training)
        found["Re-finetuning"] = passes * (TRAIN_TOKEN * config.keep + config.distill)
    return found


def recovered(run: Run, plan: Plan, stages: Sequence[Stage]) -> Encoder:
    """What a plan leaves of the dense model, compensated and re-finetuned. stages: as `recovery` has them."""
    compact = cut(run, plan)
    compensated, finetuned = stages
    dense = ordered(run.dense, plan)  # hidden states of the two are compared
    _compensate(run, dense, compact, plan, compensated)
    if run.config.epochs:
        _finetune(run, dense, compact, finetuned)
    return compact


def cut(run: Run, plan: Plan) -> Encoder:
    """What a plan leaves of the dense model, on the run's device."""
    compact = apply_plan(run.dense.cpu(), plan).to(run.device).eval()
    run.dense.to(run.device)
    return compact


def _compensate(run: Run, dense: Encoder, compact: Encoder, plan: Plan, stage: Stage) -> None:
    """Let what is left make up for what went, in place."""

    def made() -> dict[str, Tensor]:
        run.report.stage("Compensating layer by layer", dense.config.layers)
        groups = list(batches(run.inputs.calibration, CALIBRATION_TOKENS, dense.config.pad_id))
        compensate(dense, compact, plan, groups, run.config.ridge, lambda layer: run.report.advance())
        return compact.state_dict()

    compact.load_state_dict(dict(run.kept(stage, made)))


def _finetune(run: Run, dense: Encoder, compact: Encoder, stage: Stage) -> None:
    """Re-finetune, in place, from the last step that is kept."""
    config, workspace, report = run.config, run.workspace, run.report
    schedule = Schedule(
        epochs=config.epochs,
        tokens=config.tokens,
        learning_rate=config.learning_rate or learning_rate(config.keep),
        labels=config.train is not None,
        distill=config.distill,
        seed=config.seed,
        noise=config.noise if config.noisy else 0.0,
    )
    trainer = Trainer(compact, dense, run.inputs.training, run.checkpoint.subject.objective, schedule)
    saved = workspace.tensors(stage.name, stage.digest)
    if saved is not None:
        trainer.restore(to_device(saved, trainer.device))
    report.stage("Re-finetuning", trainer.steps)
    report.advance(trainer.step)
    average = math.nan

    def told(step: int, loss: float) -> None:
        nonlocal average
        average = loss if math.isnan(average) else 0.98 * average + 0.02 * loss
        report.advance(1, f"loss {average:.3f}")

    while trainer.step < trainer.steps:
        trainer.run(trainer.step + config.checkpoint_every, told)
        workspace.save_tensors(stage.name, stage.digest, trainer.state())
