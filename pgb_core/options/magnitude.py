"""Options of pruning by magnitude."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.units import WeightsOptions


class MagnitudeOptions(WeightsOptions):
    """What is small is removed: whole heads and neurons, or single weights."""

    summary: ClassVar[str] = "removes the smallest heads and neurons, or single weights; needs no data to choose them"
    paper: ClassVar[str] = "Learning both Weights and Connections for Efficient Neural Networks, arXiv 1506.02626"

    structure: Literal["units", "weights"] = Field(
        "units",
        description="units: heads and neurons; weights: single weights, which makes the graph neither smaller nor "
        "faster",
    )
    schedule: Literal["one-shot", "cubic"] = Field(
        "one-shot",
        description="one-shot: all is removed at once, before training; cubic: more and more is removed while the "
        "model trains, fast at first (arXiv 1710.01878)",
    )

    @property
    def learns(self) -> bool:
        """What is small changes while the model trains."""
        return self.schedule == "cubic"
