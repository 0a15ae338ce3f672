"""Options of disabling attention."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.base import MethodOptions


class KovalevaOptions(MethodOptions):
    """Heads attend to every token alike, or the attention of layers goes, where that changes the answers least."""

    summary: ClassVar[str] = "heads that attend to every token alike, or layers without attention, by trial"
    paper: ClassVar[str] = "Revealing the Dark Secrets of BERT, arXiv 1908.08593"
    acts_on: ClassVar[str] = "heads"

    disable: Literal["heads", "layers"] = Field(
        "heads",
        description="heads: single ones attend to every token alike, without query and key; layers: all attention of a "
        "layer goes, and its mean stays; one layer keeps its own",
    )
    judged_by: Literal["agreement", "loss"] = Field(
        "agreement",
        description="agreement: by how far predictions move from the dense model's; loss: by the loss on labels",
    )
    judged_rows: int = Field(128, ge=1, description="calibration rows that heads are judged on")
    judged_again: float = Field(
        0.1, gt=0, le=1, description="share of all that is disabled before what is left is judged again; 1 judges once"
    )

    @property
    def uses_labels(self) -> bool:
        """A loss is one on labels."""
        return self.judged_by == "loss"

    def stored(self, keep: float) -> float:
        """Query and key are a sixth of the weights; all attention is a third."""
        return max(keep, 5 / 6 if self.disable == "heads" else 2 / 3)
