"""Options of training with quantisation noise."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class QuantNoiseOptions(MethodOptions):
    """A random share of the weights is rounded to int8 at each step of the re-finetuning."""

    summary: ClassVar[str] = (
        "trains with a random part of the weights rounded to int8; below --keep 1 it uses the plan of pgb"
    )
    paper: ClassVar[str] = "Training with Quantization Noise for Extreme Model Compression, arXiv 2004.07320"
    acts_on: ClassVar[str] = "numbers"
    of_training: ClassVar[tuple[str, ...]] = ("share", "block")

    share: float = Field(0.5, gt=0, le=1, description="share of the blocks that is rounded in each step")
    block: int = Field(1, ge=1, description="consecutive weights of one output that are rounded together")

    @property
    def quantises(self) -> bool:
        """That is the purpose of the method."""
        return True

    @property
    def uses_labels(self) -> bool:
        """The scores of the plan use them."""
        return True

    @property
    def continues(self) -> bool:
        """Its plan comes from scores, which any encoder has."""
        return True

    @property
    def priced(self) -> bool:
        """The plan of PGB weighs parts by their run time."""
        return True
