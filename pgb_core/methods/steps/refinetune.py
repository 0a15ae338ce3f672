"""What a plan leaves of a model, and its re-finetuning."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

from pgb_core.learn.noise import Noise
from pgb_core.learn.regime import Regime
from pgb_core.learn.teacher import reordered
from pgb_core.methods.steps.train import Training, learned_by, step_count, train, trainer_of, training_effort
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import Plan
from pgb_core.run.effort import judging_effort
from pgb_core.run.run import Run, Stage

REFINETUNING = "Re-finetuning"
PACED = 5  # steps that are timed, to tell how long a training takes


def cut(run: Run, plan: Plan, trained: Encoder | None = None) -> Encoder:
    """What a plan leaves of the run's first model, or of the one that was trained toward it, on the run's device."""
    source = trained or run.source
    compact = apply_plan(source.cpu(), plan).to(run.device).eval()
    source.to(run.device)
    return compact


def finish(run: Run, before: Stage, share: float, *settings: object) -> Stage:
    """The stage of `finished`. settings: all that its regimes depend on."""
    noise = (run.config.noise,) if run.config.noisy else ()
    best = ("best state",) if run.config.best_state else ()
    return before.then("finetuned", *learned_by(run), *([share] if share < 1 else []), *noise, *best, *settings)


def refinetuning(run: Run, share: float = 1.0) -> Training:
    """The training of the compact model, for the last share of the epochs."""
    return Training(REFINETUNING, share, before=1 - share, size=run.config.keep, best=run.config.best_state)


def finishing_effort(run: Run, share: float) -> dict[str, float]:
    """Expected work of `finished`, as `scoring_effort` gives it."""
    return {**judging_effort(run, "pruned"), **training_effort(run, refinetuning(run, share))}


def finished(run: Run, compact: Encoder, stage: Stage, share: float) -> Encoder:
    """The compact model as it was cut, re-finetuned in place for a share of the epochs."""
    run.judge.between("pruned", compact)
    return finetuned(run, compact, stage, share)


def finetuned(
    run: Run,
    compact: Encoder,
    stage: Stage,
    share: float,
    stream: Sequence[int] | None = None,
    regimes: Sequence[Regime] = (),
) -> Encoder:
    """Train, in place; with noise where a form gains by it. stream: the order of the residual stream, as in a plan."""
    noise = [Noise(compact, run.config.noise)] if run.config.noisy else []
    train(run, compact, reordered(run.teacher, stream), stage, refinetuning(run, share), [*regimes, *noise])
    return compact


def seconds_of_training(run: Run, compact: Encoder, stream: Sequence[int] | None) -> float:
    """What the re-finetuning takes here, by the pace of a few steps of a copy of the compact model.

    To it comes what the dense model takes: once for each row whose outputs are kept, and in every epoch for the others.
    """
    teacher, dense = reordered(run.teacher, stream), run.teacher
    training = replace(refinetuning(run), best=False)
    for steps in (1, PACED, PACED):  # the first one sets up; the third is on the rows of the second
        trainer, _ = trainer_of(run, copy.deepcopy(compact), teacher, training, ())
        asked, began = dense.asked, time.perf_counter()
        trainer.run(steps)
        seconds, asked = time.perf_counter() - began, dense.asked - asked
    pace = dense.pace() if run.config.distill else 0.0
    step = max(0.0, seconds - pace * asked) / min(PACED, trainer.steps)
    count = step_count(run, 1.0)
    epochs = count / run.per_epoch
    return float(count * step + pace * (min(1.0, epochs) * dense.waiting + epochs * dense.passing))
