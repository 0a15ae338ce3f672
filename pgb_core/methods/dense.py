"""Prunes nothing: the checkpoint unchanged, in the forms that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.planned import whole
from pgb_core.run.run import Run, Stage


class Dense(Method):
    """Every matrix stays."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """Nothing is kept."""
        return (run.first("dense"),)

    def effort(self, run: Run) -> dict[str, float]:
        """None."""
        return {}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        plan = whole(run)
        return Compressed(steps.cut(run, plan), plan)
