"""Options of reweighted proximal pruning."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.units import WeightsOptions


class ProximalOptions(WeightsOptions):
    """What a penalty moves to 0 is removed: whole heads and neurons, or single weights."""

    summary: ClassVar[str] = "removes heads and neurons, or single weights, that a penalty moves to 0 in training"
    paper: ClassVar[str] = "Reweighted Proximal Pruning for Large-Scale Language Representation, arXiv 1909.12486"

    structure: Literal["units", "weights"] = Field(
        "units",
        description="units: heads and neurons; weights: single weights, which makes the graph neither smaller nor "
        "faster",
    )

    @property
    def learns(self) -> bool:
        """Weights reach 0 in training."""
        return True
