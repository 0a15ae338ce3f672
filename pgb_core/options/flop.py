"""Options of pruned low-rank factors."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class FlopOptions(MethodOptions):
    """Each matrix becomes two thin ones, of a rank that training finds."""

    summary: ClassVar[str] = "two thin products in place of a matrix, of a rank that training finds"
    paper: ClassVar[str] = "Structured Pruning of Large Language Models, arXiv 1910.04732"
    acts_on: ClassVar[str] = "matrices"

    factor_share: float = Field(
        0.5, gt=0, lt=1, description="share of the epochs in which ranks are found; the rest trains what is left"
    )
    rank_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="peak learning rate of the gates on the ranks; by default such that they can close in the steps "
        "that there are",
    )
