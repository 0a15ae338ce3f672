"""Makes up for what a plan takes out of a trained model: compensation, then re-finetuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from pgb_core.learn.compensate import compensate
from pgb_core.learn.regime import Regime
from pgb_core.methods.steps.refinetune import cut, finetuned, finish, refinetuning
from pgb_core.methods.steps.score import CALIBRATION_TOKENS
from pgb_core.methods.steps.train import training_effort
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import ordered
from pgb_core.plan import Plan
from pgb_core.run.effort import judging_effort
from pgb_core.run.run import Run, Stage
from pgb_core.search.pull import stronger
from pgb_core.tasks.features import batches, token_count

# Expected work, in tokens through the dense model: one pass of either model and the products of moments a token, and
# the solutions.
COMPENSATE_TOKEN, COMPENSATE = 2.5, 6_000
_TITLE = "Compensating layer by layer"


def recovery(run: Run, plan: Stage, *settings: object) -> Sequence[Stage]:
    """The stages of `recovered`, after the one that made the plan. settings: all that its regimes depend on."""
    if run.config.keep == 1:  # nothing went, so there is nothing to make up for
        return (finish(run, plan, 1.0, *settings),)
    compensated = plan.then("compensated", run.inputs.calibration_digest, run.config.ridge)
    return compensated, finish(run, compensated, 1.0, *settings)


def recovery_effort(run: Run) -> dict[str, float]:
    """Expected work of `recovered`, as `scoring_effort` gives it."""
    training = training_effort(run, refinetuning(run))
    if run.config.keep == 1:
        return training
    compensating = {_TITLE: COMPENSATE + COMPENSATE_TOKEN * token_count(run.inputs.calibration)}
    return {**judging_effort(run, "pruned"), **compensating, **judging_effort(run, "compensated"), **training}


def recovered(
    run: Run, plan: Plan, stages: Sequence[Stage], regimes: Callable[[Encoder], Sequence[Regime]] = lambda model: ()
) -> Encoder:
    """What a plan leaves of the run's first model, compensated toward it and re-finetuned.

    stages: as `recovery` has them. regimes: of the re-finetuning, made for the compact model.
    """
    compact = cut(run, plan)
    *compensated, last = stages
    source = ordered(run.source, plan)  # hidden states of the two are compared
    for stage in compensated:
        run.judge.between("pruned", compact)
        _compensate(run, source, compact, plan, stage)
        run.judge.between("compensated", compact)
    return finetuned(run, compact, last, 1.0, plan.stream, regimes(compact))


def _compensate(run: Run, source: Encoder, compact: Encoder, plan: Plan, stage: Stage) -> None:
    """Let what is left make up for what went, in place."""

    def made() -> dict[str, Tensor]:
        run.report.stage(_TITLE, len(source.layers))
        groups = list(batches(run.inputs.calibration, CALIBRATION_TOKENS, source.config.pad_id))
        asked, rows = run.config.ridge, len(run.inputs.calibration)
        taken = compensate(source, compact, plan, groups, asked, lambda layer: run.report.advance())
        if taken > asked:
            run.report.warn(stronger(asked, taken, rows))
        return compact.state_dict()

    compact.load_state_dict(dict(run.kept(stage, made)))
