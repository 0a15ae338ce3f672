"""Options of PGB as published."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class PGBPaperOptions(MethodOptions):
    """Disjoint groups by one threshold on importance."""

    summary: ClassVar[str] = (
        "PGB as published: disjoint groups and one threshold; use it with --no-distill and 3 epochs"
    )
    paper: ClassVar[str] = "PGB: One-Shot Pruning for BERT via Weight Grouping and Permutation, arXiv 2502.03984"
    acts_on: ClassVar[str] = "blocks"

    tau: float = Field(1e-5, gt=0, lt=1e12, description="start of the search for the threshold that gives --keep")
    g_max: int = Field(6, ge=1, description="largest number of groups in a matrix")
    passes: int = Field(6, ge=1, description="passes of the search for the permutations of a group")

    @property
    def uses_labels(self) -> bool:
        """Scores are gradients of the loss on them."""
        return True
