"""Options of head importance."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.base import MethodOptions


class MichelOptions(MethodOptions):
    """The heads whose gates the loss depends on least go, a share a round."""

    summary: ClassVar[str] = "heads, and neurons, by how much the loss depends on them, some a round"
    paper: ClassVar[str] = "Are Sixteen Heads Really Better than One?, arXiv 1905.10650"
    acts_on: ClassVar[str] = "heads"

    structure: Literal["units", "heads"] = Field(
        "units",
        description="units: heads and neurons, scored alike; heads: no neuron goes, as in the paper, and about two "
        "thirds of the weights stay at the least",
    )
    share_per_round: float = Field(
        0.1, ge=0.01, le=1, description="of the heads, and of the neurons, that go before all are scored again"
    )

    @property
    def uses_labels(self) -> bool:
        """Scores are gradients of the loss on them."""
        return True
