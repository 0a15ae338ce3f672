"""Options of LayerDrop."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class LayerDropOptions(MethodOptions):
    """Layers are skipped at random in training; at the end evenly spaced layers are removed."""

    summary: ClassVar[str] = "removes whole layers, after training in which each layer is skipped at random"
    paper: ClassVar[str] = "Reducing Transformer Depth on Demand with Structured Dropout, arXiv 1909.11556"
    acts_on: ClassVar[str] = "layers"
    of_training: ClassVar[tuple[str, ...]] = ("layer_drop",)

    layer_drop: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="probability that a layer is skipped in a step; 0.5 is advised if half of the layers or more "
        "are removed",
    )

    @property
    def compensates(self) -> bool:
        """The model was trained for the cut."""
        return False
