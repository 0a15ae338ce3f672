"""Options of disabling attention."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.base import MethodOptions


class KovalevaOptions(MethodOptions):
    """Heads attend to every token alike, or layers lose their attention, where that changes the answers least."""

    summary: ClassVar[str] = (
        "disables single heads, or the attention of whole layers, where a trial shows the least change"
    )
    paper: ClassVar[str] = "Revealing the Dark Secrets of BERT, arXiv 1908.08593"
    acts_on: ClassVar[str] = "heads"

    disable: Literal["heads", "layers"] = Field(
        "heads",
        description="heads: single heads attend to every token alike, without query and key; layers: all attention of "
        "a layer is replaced by its mean; one layer keeps its attention",
    )
    judged_by: Literal["agreement", "loss"] = Field(
        "agreement",
        description="agreement: by how far predictions move from those of the dense model; loss: by the loss on labels",
    )
    judged_rows: int = Field(128, ge=1, description="number of calibration rows on which heads or layers are evaluated")
    judged_again: float = Field(
        0.1,
        gt=0,
        le=1,
        description="share of the heads (or layers) that is disabled before the others are evaluated again; with 1 "
        "they are evaluated only once",
    )

    @property
    def uses_labels(self) -> bool:
        """The loss is computed on labels."""
        return self.judged_by == "loss"

    def stored(self, keep: float) -> float:
        """Query and key are a sixth of the weights; all attention is a third."""
        return max(keep, 5 / 6 if self.disable == "heads" else 2 / 3)
