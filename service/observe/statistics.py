"""What one version of a model has done since it was loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from service.observe.metrics import STAGES, Call, clock


@dataclass
class Spent:
    """A count and the total time."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float, count: int = 1) -> None:
        """One more."""
        self.count += count
        self.ns += round(1e9 * seconds)


@dataclass
class Statistics:
    """What one version of a model has done since it was loaded, as the v2 statistics report it.

    success, fail, queue and the three compute figures count requests; `batches` counts runs by size.
    """

    success: Spent = field(default_factory=Spent)
    fail: Spent = field(default_factory=Spent)
    stages: dict[str, Spent] = field(default_factory=lambda: {stage: Spent() for stage in STAGES})
    batches: dict[int, Spent] = field(default_factory=dict)
    inferences: int = 0
    executions: int = 0
    last: float = 0.0

    def answered(self, call: Call) -> None:
        """A request was answered successfully."""
        self.success.add(call.stamps.total)
        for stage, seconds in zip(STAGES, call.stamps.stages(), strict=True):
            self.stages[stage].add(seconds)
        self.inferences += call.inputs
        self.last = time.time()

    def failed(self, call: Call) -> None:
        """A request for this model got an error or was refused."""
        self.fail.add(clock() - call.stamps.received)

    def ran(self, size: int, seconds: float) -> None:
        """A batch ran."""
        self.executions += 1
        self.batches.setdefault(size, Spent()).add(seconds)
