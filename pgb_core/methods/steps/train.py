"""One training of a run: what it depends on, what it costs, and its steps, kept as they are made."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pgb_core.learn import held_back
from pgb_core.learn.finetune import Schedule, Trainer, epoch_of, learning_rate
from pgb_core.learn.regime import Regime
from pgb_core.learn.teacher import Teaching
from pgb_core.model.encoder import Encoder
from pgb_core.run.run import Run, Stage
from pgb_core.run.workspace import to_device
from pgb_core.tasks.features import Features, token_count

# Expected work a token, in tokens through the dense model: a forward and a backward pass, and the optimiser.
TRAIN_TOKEN = 3.5
TEACHING = "Computing the dense model's outputs"


@dataclass(frozen=True)
class Training:
    """One of the trainings of a run. title: of its stage. share: of the epochs; before: the share that was trained for
    before it. size: of the model in training, as a share of the dense weights; the learning rate depends on it. best:
    whether rows are held back, and the state that is best on them is kept.
    """

    title: str
    share: float
    before: float
    size: float
    best: bool = False


def step_count(run: Run, share: float) -> int:
    """Steps of a training for a share of the epochs."""
    return max(1, round(share * run.epochs * run.per_epoch))


def learned_by(run: Run) -> tuple[object, ...]:
    """What every training depends on."""
    config = run.config
    learned = (run.epochs, config.tokens, config.learning_rate, config.distill, config.train is not None)
    return run.inputs.training_digest, config.seed, config.keep, *learned


def training_effort(run: Run, training: Training) -> dict[str, float]:
    """Expected work of a training and of what comes before it, by title, in tokens through the dense model.

    The dense model's outputs are taken to be kept for all rows, and to be computed before the first training of a run
    for all of its trainings.
    """
    tokens, steps = token_count(run.inputs.training), step_count(run, training.share)
    if not tokens * training.share * run.epochs:
        return {}
    teaching = {TEACHING: tokens * min(1.0, step_count(run, 1.0) / run.per_epoch)} if run.config.distill else {}
    return {**teaching, training.title: tokens * steps / run.per_epoch * TRAIN_TOKEN * training.size}


def trainer_of(
    run: Run, model: Encoder, teacher: Teaching, training: Training, regimes: Sequence[Regime]
) -> tuple[Trainer, list[Features]]:
    """A training at its first step, and the rows that are held back from it."""
    config, learned, held = run.config, list(run.inputs.training), list[Features]()
    if training.best:
        learned, held = held_back.split(learned, training.share * run.epochs, config.seed)
    epochs = (
        config.epochs if config.steps is None else config.steps / len(epoch_of(learned, config.tokens, config.seed))
    )
    schedule = Schedule(
        epochs=training.share * epochs,
        tokens=config.tokens,
        learning_rate=config.learning_rate or learning_rate(training.size),
        labels=config.train is not None,
        distill=config.distill,
        seed=config.seed,
        before=training.before * epochs,
    )
    return Trainer(model, teacher, learned, run.checkpoint.subject.objective, schedule, regimes, held), held


def train(
    run: Run, model: Encoder, teacher: Teaching, stage: Stage, training: Training, regimes: Sequence[Regime]
) -> None:
    """Train, in place, from the last step that is kept."""
    config, workspace, report = run.config, run.workspace, run.report
    if not config.trains:
        return
    trainer, held = trainer_of(run, model, teacher, training, regimes)
    saved = workspace.tensors(stage.name, stage.digest)
    if saved is not None:
        trainer.restore(to_device(saved, trainer.device))
    if training.best and not held and trainer.step < trainer.steps:
        report.warn(f"--best-state: fewer than {held_back.LEAST} rows could be held back, so the last state is kept")
    known = run.records.of(stage.digest).get("seconds", 0.0) if saved is not None else 0.0
    began = time.perf_counter()
    if config.distill:
        _teach(run, trainer)
    report.stage(training.title, trainer.steps)
    report.advance(trainer.step)
    average = math.nan

    def told(step: int, loss: float) -> None:
        nonlocal average
        average = loss if math.isnan(average) else 0.98 * average + 0.02 * loss
        report.advance(1, f"loss {average:.3f}")

    while trainer.step < trainer.steps:
        trainer.run(trainer.step + config.checkpoint_every, told)
        workspace.save_tensors(stage.name, stage.digest, trainer.state())
        seconds = round(known + time.perf_counter() - began, 2)
        run.records.add(stage.digest, seconds=seconds, steps=trainer.step)
    if trainer.best is not None:
        found = trainer.best
        report.note(
            f"best state: step {found.step:,} of {trainer.steps:,}, loss {found.loss:.4f} on {len(held):,} inputs held "
            f"back (the last state's: {found.last:.4f})"
        )


def _teach(run: Run, trainer: Trainer) -> None:
    """Compute what the dense model makes of the rows to come, as much as will be kept, and keep it for later runs."""
    teacher, report = run.teacher, run.report
    groups = teacher.missing(trainer.to_come())
    if not groups:
        return
    report.stage(TEACHING, sum(map(token_count, groups)))
    for group in groups:
        teacher.learn(group)
        report.advance(token_count(group))
    run.keep_teacher()
