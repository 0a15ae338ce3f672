"""Options of fixed attention."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class FixedAttentionOptions(MethodOptions):
    """Heads that attend by position get a fixed pattern instead of query and key."""

    summary: ClassVar[str] = (
        "gives heads that attend by position a fixed pattern; at least one head of each layer stays as it is"
    )
    paper: ClassVar[str] = (
        "Fixed Encoder Self-Attention Patterns in Transformer-Based Machine Translation, arXiv 2002.10260"
    )
    acts_on: ClassVar[str] = "heads"

    judged_rows: int = Field(
        128, ge=1, description="number of calibration rows on which heads are compared with patterns"
    )

    def stored(self, keep: float) -> float:
        """Query and key are a sixth of the weights."""
        return max(keep, 5 / 6)
