"""What quantising methods share: PGB's plan of the requested size, re-finetuned for int8."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pgb_core.learn.regime import Regime
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.planned import plan_effort, plan_stages, planned
from pgb_core.model.encoder import Encoder
from pgb_core.options import PGBOptions, is_int8
from pgb_core.plan import Plan
from pgb_core.run.run import Run, Stage

PLANNED = PGBOptions.model_validate({})  # they have no options for the plan


class Quantised(Method):
    """The whole model with keep 1, and PGB's plan below; then a training that knows what int8 will do to it."""

    @abstractmethod
    def settings(self, run: Run) -> Sequence[object]:
        """All that the regime depends on, the method's name first."""

    @abstractmethod
    def regime(self, run: Run, compact: Encoder) -> Regime:
        """What is added to the training."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        before = plan_stages(run, PLANNED)
        return *before, *steps.recovery(run, before[-1], *self.settings(run))

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return {**plan_effort(run, PLANNED), **steps.recovery_effort(run)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        warn(run)
        before = plan_stages(run, PLANNED)
        after = self.stages(run)[len(before) :]
        return self.trained(run, planned(run, PLANNED, before), after)

    def trained(self, run: Run, plan: Plan, after: Sequence[Stage]) -> Compressed:
        """What a plan leaves, trained under the regime. after: the stages that follow the plan."""
        model = steps.recovered(run, plan, after, lambda compact: [self.regime(run, compact)])
        return Compressed(model, plan)


def warn(run: Run) -> None:
    """Say what makes the method pointless."""
    if not any(map(is_int8, run.config.forms)):
        run.report.warn(f"--method {run.config.method} trains for int8, and --forms asks for no form in int8")
    if not run.config.trains:
        run.report.warn(f"--method {run.config.method} trains, and --epochs 0 leaves no steps for it")
