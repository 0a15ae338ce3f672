"""Options of gates that are learned."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.units import UnitsOptions


class VoitaOptions(UnitsOptions):
    """Every head has a gate. Training opens or closes it, with a penalty for each open gate."""

    summary: ClassVar[str] = "removes the heads and neurons whose gates training closes; needs --epochs above 0"
    paper: ClassVar[str] = "Analyzing Multi-Head Self-Attention, arXiv 1905.09418"
    acts_on: ClassVar[str] = "heads"

    structure: Literal["units", "heads"] = Field(
        "units",
        description="units: heads and neurons have gates; heads: only heads have them, as in the paper, so at least "
        "about two thirds of the weights are kept",
    )
    gate_penalty: float = Field(
        0.1,
        gt=0,
        lt=1000,
        description="penalty in the loss for each open gate; this is its first value, and it rises while too "
        "many are open",
    )
    gate_rate: float = Field(0.2, gt=0, lt=10, description="peak learning rate of the gates")

    @property
    def learns(self) -> bool:
        """Gates are learned, and decide what is kept."""
        return True
