"""Trains the dense model toward its plan, for methods that learn what to keep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from pgb_core.learn.regime import Regime
from pgb_core.methods.base import Compressed
from pgb_core.methods.steps.refinetune import cut, finish, finished, finishing_effort
from pgb_core.methods.steps.train import Training, learned_by, train, training_effort
from pgb_core.model.encoder import Encoder
from pgb_core.plan import Choice, Site
from pgb_core.run.run import Run, Stage

Given = TypeVar("Given", bound=Regime)
SHAPING = 0.6  # share of the epochs for the training that decides what stays


def shaping(run: Run, before: Stage, share: float, *settings: object) -> Stage:
    """The stage of `shaped`. settings: all that its regimes depend on."""
    return before.then("shaped", *learned_by(run), share, *settings)


def shaping_effort(run: Run, share: float) -> dict[str, float]:
    """Expected work of `shaped`, as `scoring_effort` gives it."""
    return training_effort(run, _training(share))


def shaped(run: Run, stage: Stage, share: float, regimes: Callable[[Encoder], Sequence[Regime]]) -> Encoder:
    """A copy of the dense model, trained under a method's regimes for a share of the epochs; regimes end as they are.

    regimes: made for the copy. They are restored, too, when the stage is kept already.
    """
    model = copy.deepcopy(run.dense)
    train(run, model, run.teacher, stage, _training(share), regimes(model))
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

    plan = run.kept_plan(second, lambda: run.plan(chosen(weights_of(trained), made[0])))
    return Compressed(finished(run, cut(run, plan, trained), third, 1 - SHAPING), plan)


def weights_of(model: Encoder) -> dict[Site, Tensor]:
    """The weights of every map, [out, in] each, on the CPU."""
    return {site: linear.to_dense().detach().float().cpu() for site, linear in model.sites().items()}


def _training(share: float) -> Training:
    return Training("Training the dense model toward its plan", share, before=0.0, size=1.0)
