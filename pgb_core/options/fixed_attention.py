"""Options of fixed attention."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class FixedAttentionOptions(MethodOptions):
    """Heads that attend by place get a fixed pattern in place of query and key."""

    summary: ClassVar[str] = "heads that attend by place get a fixed pattern, all but one of each layer at most"
    paper: ClassVar[str] = (
        "Fixed Encoder Self-Attention Patterns in Transformer-Based Machine Translation, arXiv 2002.10260"
    )
    acts_on: ClassVar[str] = "heads"

    judged_rows: int = Field(128, ge=1, description="calibration rows that heads are judged on")

    def stored(self, keep: float) -> float:
        """Query and key are a sixth of the weights."""
        return max(keep, 5 / 6)
