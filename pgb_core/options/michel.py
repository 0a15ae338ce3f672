"""Options of head importance."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.units import UnitsOptions


class MichelOptions(UnitsOptions):
    """In rounds, a share of the heads is removed: those whose gates the loss depends on least."""

    summary: ClassVar[str] = "removes the heads and neurons on which the loss depends least, in rounds"
    paper: ClassVar[str] = "Are Sixteen Heads Really Better than One?, arXiv 1905.10650"
    acts_on: ClassVar[str] = "heads"

    structure: Literal["units", "heads"] = Field(
        "units",
        description="units: heads and neurons, scored in the same way; heads: only heads, as in the paper, so at least "
        "about two thirds of the weights are kept",
    )
    share_per_round: float = Field(
        0.1,
        ge=0.01,
        le=1,
        description="share of the heads, and of the neurons, that is removed before all are scored again",
    )

    @property
    def uses_labels(self) -> bool:
        """Scores are gradients of the loss on them."""
        return True
