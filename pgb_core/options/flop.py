"""Options of pruned low-rank factors."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class FlopOptions(MethodOptions):
    """Each matrix becomes a product of two of low rank; training finds the rank."""

    summary: ClassVar[str] = "replaces each matrix by two of low rank; training finds the rank"
    paper: ClassVar[str] = "Structured Pruning of Large Language Models, arXiv 1910.04732"
    acts_on: ClassVar[str] = "matrices"
    of_training: ClassVar[tuple[str, ...]] = ("factor_share", "rank_rate")

    factor_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of the epochs in which ranks are found; the rest trains the factors that are left",
    )
    rank_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="peak learning rate of the gates on the ranks; by default large enough for them to close in the "
        "available steps",
    )

    @property
    def compensates(self) -> bool:
        """Training finds the factors."""
        return False
