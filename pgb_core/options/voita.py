"""Options of gates that are learnt."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.base import MethodOptions


class VoitaOptions(MethodOptions):
    """Every head has a gate that training opens or closes, at a price for each that is open."""

    summary: ClassVar[str] = "heads, and neurons, by gates that training closes; needs epochs"
    paper: ClassVar[str] = "Analyzing Multi-Head Self-Attention, arXiv 1905.09418"
    acts_on: ClassVar[str] = "heads"

    structure: Literal["units", "heads"] = Field(
        "units",
        description="units: heads and neurons have gates; heads: no neuron goes, as in the paper, and about two thirds "
        "of the weights stay at the least",
    )
    gate_penalty: float = Field(
        0.1,
        gt=0,
        lt=1000,
        description="added to the loss for each open gate, at first; it rises while too many are open",
    )
    gate_rate: float = Field(0.2, gt=0, lt=10, description="peak learning rate of the gates")

    @property
    def learns(self) -> bool:
        """Gates do."""
        return True
