"""Stages that methods share: scores, compensation, re-finetuning. Each is done once and kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from pgb_core.learn import held_back
from pgb_core.learn.compensate import compensate
from pgb_core.learn.finetune import Schedule, Trainer, epoch_of, learning_rate
from pgb_core.learn.fisher import fisher
from pgb_core.learn.noise import Noise
from pgb_core.learn.regime import Regime
from pgb_core.learn.teacher import Teaching, reordered
from pgb_core.methods.base import Compressed
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan, ordered
from pgb_core.plan import Choice, Plan, Site
from pgb_core.run.effort import judging_effort
from pgb_core.run.run import Run, Stage
from pgb_core.run.workspace import to_device
from pgb_core.search.importance import importance
from pgb_core.search.planning import FLOPS_TOKENS
from pgb_core.tasks import Objective
from pgb_core.tasks.features import Batch, Features, batches

Given = TypeVar("Given", bound=Regime)
CALIBRATION_TOKENS = 2048
TOO_LARGE = "the parts of this model are too large to come nearer"
NEAR = 0.01  # a budget that is missed by a larger share of the encoder is told
PACED = 5  # steps that are timed, to tell how long a training takes
SHAPING = 0.6  # share of the epochs for the training that decides what stays
# Expected work, in tokens through the dense model. A gradient of every weight a sample, and a forward and a backward
# pass a token; one pass of either model and the products of moments a token, and the solutions; a forward and a
# backward pass of what is left, and the optimiser.
SCORE_SAMPLE, SCORE_TOKEN = 25, 3
COMPENSATE_TOKEN, COMPENSATE = 2.5, 6_000
TRAIN_TOKEN = 3.5
REFINETUNING = "Re-finetuning"


def scoring(run: Run, from_predictions: bool) -> Stage:
    """The stage of `scores`, whatever the method does with them."""
    return run.first("scores", run.inputs.calibration_digest, run.config.seed, from_predictions)


def scores(run: Run, stage: Stage, from_predictions: bool) -> dict[Site, Tensor]:
    """Importance of every weight to the loss, [out, in] each, on the CPU.

    A model that is compressed already is scored by how far it is from the dense one: labels are drawn from the dense
    model's predictions. Then the Fisher diagonal is that of the distillation. What is gone has no importance.
    """

    def made() -> dict[str, Tensor]:
        calibration, model = run.inputs.calibration, run.source
        objective = run.checkpoint.subject.objective
        generator = torch.Generator().manual_seed(run.config.seed)
        run.report.stage("Scoring every weight", len(calibration))

        def reported() -> Iterator[Batch]:
            for batch in batches(calibration, CALIBRATION_TOKENS, model.config.pad_id):
                yield batch if run.start is None else _taught(run, batch.to(run.device), objective, generator)
                run.report.advance(len(batch.input_ids))

        drawn = from_predictions and run.start is None
        sums, sites = fisher(model, reported(), objective, run.config.seed, drawn), model.sites()
        found = {str(site): importance(sites[site].to_dense().detach(), sums[site]).cpu() for site in sums}
        gone = {str(site): one for site, one in run.dense.sites().items() if site not in sites}
        return {**found, **{name: torch.zeros(one.out_features, one.in_features) for name, one in gone.items()}}

    return {Site.parse(name): value.cpu() for name, value in run.lasting(stage, made).items()}


@torch.no_grad()
def _taught(run: Run, batch: Batch, objective: Objective, generator: torch.Generator) -> Batch:
    """A batch with labels drawn from the dense model's predictions."""
    logits = run.dense(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    return replace(batch, targets=objective.draw(logits, batch.attention_mask.bool(), generator))


def scoring_effort(run: Run) -> dict[str, float]:
    """Expected work of `scores` by stage title, in tokens through the dense model."""
    inputs = run.inputs
    return {"Scoring every weight": SCORE_SAMPLE * len(inputs.calibration) + SCORE_TOKEN * _tokens(inputs.calibration)}


def _tokens(features: Sequence[Features]) -> int:
    return sum(len(item.ids) for item in features)


def recovery(run: Run, plan: Stage, *settings: object) -> Sequence[Stage]:
    """The stages of `recovered`, after the one that made the plan. settings: all that its regimes depend on."""
    if run.config.keep == 1:  # nothing went, so there is nothing to make up for
        return (finish(run, plan, 1.0, *settings),)
    compensated = plan.then("compensated", run.inputs.calibration_digest, run.config.ridge)
    return compensated, finish(run, compensated, 1.0, *settings)


def recovery_effort(run: Run) -> dict[str, float]:
    """Expected work of `recovered`, as `scoring_effort` gives it."""
    training = _training_effort(run, REFINETUNING, 1.0, run.config.keep)
    if run.config.keep == 1:
        return training
    compensating = {"Compensating layer by layer": COMPENSATE + COMPENSATE_TOKEN * _tokens(run.inputs.calibration)}
    return {**judging_effort(run, "pruned"), **compensating, **judging_effort(run, "compensated"), **training}


def recovered(
    run: Run, plan: Plan, stages: Sequence[Stage], regimes: Callable[[Encoder], Sequence[Regime]] = lambda model: ()
) -> Encoder:
    """What a plan leaves of the run's first model, compensated toward it and re-finetuned.

    stages: as `recovery` has them. regimes: of the re-finetuning, made for the compact model.
    """
    compact = cut(run, plan)
    *compensated, finetuned = stages
    source = ordered(run.source, plan)  # hidden states of the two are compared
    for stage in compensated:
        run.judge.between("pruned", compact)
        _compensate(run, source, compact, plan, stage)
        run.judge.between("compensated", compact)
    return _finetuned(run, compact, finetuned, 1.0, plan.stream, regimes(compact))


def shaping(run: Run, before: Stage, share: float, *settings: object) -> Stage:
    """The stage of `shaped`. settings: all that its regimes depend on."""
    return before.then("shaped", *_learning(run), share, *settings)


def shaping_effort(run: Run, share: float) -> dict[str, float]:
    """Expected work of `shaped`, as `scoring_effort` gives it."""
    return _training_effort(run, "Training the dense model toward its plan", share, 1.0)


def shaped(run: Run, stage: Stage, share: float, regimes: Callable[[Encoder], Sequence[Regime]]) -> Encoder:
    """A copy of the dense model, trained under a method's regimes for a share of the epochs; regimes end as they are.

    regimes: made for the copy. They are restored, too, when the stage is kept already.
    """
    model = copy.deepcopy(run.dense)
    part = _Part(share, before=0.0, size=1.0)
    _train(run, model, run.teacher, stage, "Training the dense model toward its plan", part, regimes(model))
    return model


def shaping_stages(run: Run, *settings: object) -> Sequence[Stage]:
    """The stages of `shaped_and_cut`. settings: the name of the method, and all that its regime depends on."""
    shaped = shaping(run, run.first("begun", *settings), SHAPING)
    plan = shaped.then("plan")
    return shaped, plan, finish(run, plan, 1 - SHAPING)


def shaping_stages_effort(run: Run) -> dict[str, float]:
    """Expected work of `shaped_and_cut`, as `scoring_effort` gives it."""
    return {**shaping_effort(run, SHAPING), **finishing_effort(run, 1 - SHAPING)}


def shaped_and_cut(
    run: Run,
    stages: Sequence[Stage],
    regime: Callable[[Encoder], Given],
    chosen: Callable[[Mapping[Site, Tensor], Given], Mapping[Site, Choice]],
) -> Compressed:
    """Train the dense model under a regime, choose what stays of it, and re-finetune that.

    stages: as `shaping_stages` has them. chosen: from the trained weights, [out, in] each on the CPU, and the regime at
    its end. The two trainings share the epochs.
    """
    first, second, third = stages
    made: list[Given] = []

    def regimes(model: Encoder) -> Sequence[Given]:
        made.append(regime(model))
        return made

    trained = shaped(run, first, SHAPING, regimes)

    def planned() -> str:
        return Plan(run.checkpoint.digest, run.dense.config.head_dim, chosen(weights_of(trained), made[0])).to_json()

    plan = Plan.from_json(run.kept_text(second, planned))
    return Compressed(finished(run, cut(run, plan, trained), third, 1 - SHAPING), plan)


def weights_of(model: Encoder) -> dict[Site, Tensor]:
    """The weights of every map, [out, in] each, on the CPU."""
    return {site: linear.to_dense().detach().float().cpu() for site, linear in model.sites().items()}


def counted_tokens(run: Run) -> int:
    """Tokens of the input whose products between tokens the budget counts; 0 where it counts weights alone."""
    return FLOPS_TOKENS if run.config.budget == "flops" else 0


def tell_budget(run: Run, share: float, why: str) -> None:
    """Warn where the budget is missed by more than `NEAR`. share: kept, as the budget counts; why: it is not nearer."""
    config = run.config
    if abs(share - config.keep) > NEAR:
        run.report.warn(f"{share:.1%} of the {config.budget} are kept where {config.keep:.1%} was asked: {why}")


def finish(run: Run, before: Stage, share: float = 1.0, *settings: object) -> Stage:
    """The stage of `finished`. settings: all that its regimes depend on."""
    noise = (run.config.noise,) if run.config.noisy else ()
    best = ("best state",) if run.config.best_state else ()
    return before.then("finetuned", *_learning(run), *([share] if share < 1 else []), *noise, *best, *settings)


def finishing_effort(run: Run, share: float = 1.0) -> dict[str, float]:
    """Expected work of `finished`, as `scoring_effort` gives it."""
    return {**judging_effort(run, "pruned"), **_training_effort(run, REFINETUNING, share, run.config.keep)}


def finished(run: Run, compact: Encoder, stage: Stage, share: float = 1.0) -> Encoder:
    """The compact model as it was cut, re-finetuned in place for a share of the epochs."""
    run.judge.between("pruned", compact)
    return _finetuned(run, compact, stage, share)


def _finetuned(
    run: Run,
    compact: Encoder,
    stage: Stage,
    share: float,
    stream: Sequence[int] | None = None,
    regimes: Sequence[Regime] = (),
) -> Encoder:
    """Train, in place; with noise where a form gains by it. stream: the order of the residual stream, as in a plan."""
    noise = [Noise(compact, run.config.noise)] if run.config.noisy else []
    teacher, part = reordered(run.teacher, stream), _Part(share, before=1 - share, size=run.config.keep)
    _train(run, compact, teacher, stage, REFINETUNING, part, [*regimes, *noise], run.config.best_state)
    return compact


def cut(run: Run, plan: Plan, trained: Encoder | None = None) -> Encoder:
    """What a plan leaves of the run's first model, or of the one that was trained toward it, on the run's device."""
    source = trained or run.source
    compact = apply_plan(source.cpu(), plan).to(run.device).eval()
    source.to(run.device)
    return compact


def _compensate(run: Run, source: Encoder, compact: Encoder, plan: Plan, stage: Stage) -> None:
    """Let what is left make up for what went, in place."""

    def made() -> dict[str, Tensor]:
        run.report.stage("Compensating layer by layer", len(source.layers))
        groups = list(batches(run.inputs.calibration, CALIBRATION_TOKENS, source.config.pad_id))
        compensate(source, compact, plan, groups, run.config.ridge, lambda layer: run.report.advance())
        return compact.state_dict()

    compact.load_state_dict(dict(run.kept(stage, made)))


def step_count(run: Run, share: float) -> int:
    """Steps of a training for a share of the epochs."""
    return max(1, round(share * run.epochs * run.per_epoch))


def _learning(run: Run) -> tuple[object, ...]:
    """What every training depends on."""
    config = run.config
    learned = (run.epochs, config.tokens, config.learning_rate, config.distill, config.train is not None)
    return run.inputs.training_digest, config.seed, config.keep, *learned


def _training_effort(run: Run, title: str, share: float, size: float) -> dict[str, float]:
    """Expected work of a share of the epochs with a model that has a share `size` of the dense weights."""
    passes = share * run.epochs * _tokens(run.inputs.training)
    return {title: passes * (TRAIN_TOKEN * size + run.config.distill)} if passes else {}


def seconds_of_training(run: Run, compact: Encoder, stream: Sequence[int] | None) -> float:
    """What the re-finetuning takes here, by the pace of a few steps of a copy of the compact model.

    To it comes what the dense model takes: once for each row whose outputs are kept, and in every epoch for the others.
    """
    teacher, dense = reordered(run.teacher, stream), run.teacher
    for steps in (1, PACED, PACED):  # the first one sets up; the third is on the rows of the second
        trainer, _ = _trainer(run, copy.deepcopy(compact), teacher, _Part(1.0, 0.0, run.config.keep), ())
        asked, began = dense.asked, time.perf_counter()
        trainer.run(steps)
        seconds, asked = time.perf_counter() - began, dense.asked - asked
    pace = dense.pace() if run.config.distill else 0.0
    step = max(0.0, seconds - pace * asked) / min(PACED, trainer.steps)
    count = step_count(run, 1.0)
    epochs = count / run.per_epoch
    return float(count * step + pace * (min(1.0, epochs) * dense.waiting + epochs * dense.passing))


@dataclass(frozen=True)
class _Part:
    """One training of a run. share: of the epochs; before: the share that was trained for before it. size: of the model
    in training, as a share of the dense weights; the learning rate depends on it.
    """

    share: float
    before: float
    size: float


def _trainer(
    run: Run, model: Encoder, teacher: Teaching, part: _Part, regimes: Sequence[Regime], best: bool = False
) -> tuple[Trainer, list[Features]]:
    """A training at its first step, and the rows that are held back from it.

    best: whether some are.
    """
    config, learned, held = run.config, list(run.inputs.training), list[Features]()
    if best:
        learned, held = held_back.split(learned, part.share * run.epochs, config.seed)
    epochs = (
        config.epochs if config.steps is None else config.steps / len(epoch_of(learned, config.tokens, config.seed))
    )
    schedule = Schedule(
        epochs=part.share * epochs,
        tokens=config.tokens,
        learning_rate=config.learning_rate or learning_rate(part.size),
        labels=config.train is not None,
        distill=config.distill,
        seed=config.seed,
        before=part.before * epochs,
    )
    return Trainer(model, teacher, learned, run.checkpoint.subject.objective, schedule, regimes, held), held


def _train(
    run: Run,
    model: Encoder,
    teacher: Teaching,
    stage: Stage,
    title: str,
    part: _Part,
    regimes: Sequence[Regime],
    best: bool = False,
) -> None:
    """Train, in place, from the last step that is kept.

    best: whether rows are held back, and the state that is best on them is kept.
    """
    config, workspace, report = run.config, run.workspace, run.report
    if not config.trains:
        return
    trainer, held = _trainer(run, model, teacher, part, regimes, best)
    saved = workspace.tensors(stage.name, stage.digest)
    if saved is not None:
        trainer.restore(to_device(saved, trainer.device))
    if best and not held and trainer.step < trainer.steps:
        report.warn(f"--best-state: fewer than {held_back.LEAST} rows could be held back, so the last state is kept")
    known = run.records.of(stage.digest).get("seconds", 0.0) if saved is not None else 0.0
    began = time.perf_counter()
    report.stage(title, trainer.steps)
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
