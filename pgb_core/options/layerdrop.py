"""Options of LayerDrop."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class LayerDropOptions(MethodOptions):
    """Layers are left out at random while training, and evenly in the end."""

    summary: ClassVar[str] = "whole layers, after training in which each is left out at random"
    paper: ClassVar[str] = "Reducing Transformer Depth on Demand with Structured Dropout, arXiv 1909.11556"
    acts_on: ClassVar[str] = "layers"

    layer_drop: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="chance of each layer to be left out of a step; 0.5 is advised where half of the layers or more go",
    )
