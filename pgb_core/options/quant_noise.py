"""Options of training with quantisation noise."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.quantised import QuantisedOptions


class QuantNoiseOptions(QuantisedOptions):
    """A random share of the weights is rounded to int8 at each step of the re-finetuning."""

    summary: ClassVar[str] = (
        "trains with a random part of the weights rounded to int8; below --keep 1 it uses the plan of pgb"
    )
    paper: ClassVar[str] = "Training with Quantization Noise for Extreme Model Compression, arXiv 2004.07320"
    of_training: ClassVar[tuple[str, ...]] = ("share", "block")

    share: float = Field(0.5, gt=0, le=1, description="share of the blocks that is rounded in each step")
    block: int = Field(1, ge=1, description="consecutive weights of one output that are rounded together")
