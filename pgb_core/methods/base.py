"""What a method must do: from a run, make a compact model and the plan that it follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgb_core.model.encoder import Encoder
from pgb_core.plan import Plan
from pgb_core.run.run import Run, Stage


@dataclass(frozen=True)
class Compressed:
    """A compact model, on the run's device, and its plan. measured: what the method found, for the manifest."""

    model: Encoder
    plan: Plan
    measured: Mapping[str, object] = field(default_factory=dict)


class Method(ABC):
    """One method. Its options are in `pgb_core.options`, under the same name."""

    @abstractmethod
    def stages(self, run: Run) -> Sequence[Stage]:
        """What it keeps, in order; the last one's digest is the run's own."""

    @abstractmethod
    def effort(self, run: Run) -> dict[str, float]:
        """Expected work by the title of each stage, in order; the unit is one token through the dense model.

        The factors are rough: they were measured once, on one thread of a CPU, and serve to tell how much of a job is
        left.
        """

    def importance_kept(self, run: Run) -> float | None:
        """Share of the importance that its plan keeps, by the stages before any training; None where there is none."""
        return None

    @abstractmethod
    def compress(self, run: Run) -> Compressed:
        """Do the stages that are not kept. Raises PGBError."""
