"""Options of pruning by magnitude."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.base import MethodOptions


class MagnitudeOptions(MethodOptions):
    """What is small goes: whole heads and neurons, or single weights."""

    summary: ClassVar[str] = "heads and neurons, or single weights, by their size; needs data to recover alone"
    paper: ClassVar[str] = "Learning both Weights and Connections for Efficient Neural Networks, arXiv 1506.02626"

    structure: Literal["units", "weights"] = Field(
        "units",
        description="units: heads and neurons; weights: single ones, which make a graph neither smaller nor faster",
    )
    schedule: Literal["one-shot", "cubic"] = Field(
        "one-shot",
        description="one-shot: all goes at once, before training; cubic: more and more goes while the model trains, "
        "fast at first (arXiv 1710.01878)",
    )

    @property
    def saves_flops(self) -> bool:
        """Zeros are multiplied as all else."""
        return self.structure == "units"

    @property
    def learns(self) -> bool:
        """What is small changes while the model trains."""
        return self.schedule == "cubic"

    def stored(self, keep: float) -> float:
        """A graph with single weights gone holds their zeros."""
        return keep if self.structure == "units" else 1.0
