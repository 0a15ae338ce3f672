"""Options of movement pruning."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.units import WeightsOptions


class MovementOptions(WeightsOptions):
    """What training moves toward 0 is removed: whole heads and neurons, or single weights."""

    summary: ClassVar[str] = "keeps the heads and neurons, or single weights, that training makes larger"
    paper: ClassVar[str] = "Movement Pruning: Adaptive Sparsity by Fine-Tuning, arXiv 2005.07683"

    structure: Literal["units", "hard", "soft"] = Field(
        "units",
        description="units: heads and neurons, by scores of blocks, rows and columns; hard: single weights, those of "
        "each matrix with the highest scores; soft: single weights whose scores stay high under a penalty",
    )
    score_rate: float | None = Field(
        None,
        gt=0,
        lt=10,
        description="peak learning rate of the scores; by default 0.01, and more for soft in a short training",
    )

    @property
    def learns(self) -> bool:
        """Scores are learned, and decide what is kept."""
        return True
