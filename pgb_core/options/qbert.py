"""Options of mixed precision by sensitivity."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.quantised import QuantisedOptions


class QBertOptions(QuantisedOptions):
    """The layers to whose weights the loss is most sensitive stay in float32; the others are trained for int8."""

    summary: ClassVar[str] = (
        "trains for int8, except in the most sensitive layers; below --keep 1 it uses the plan of pgb"
    )
    paper: ClassVar[str] = "Q-BERT: Hessian Based Ultra Low Precision Quantization of BERT, arXiv 1909.05840"

    exact: float = Field(
        0.25, ge=0, le=1, description="share of the layers that stay in float32 in int8 forms, the most sensitive ones"
    )
    sensitivity_rows: float = Field(
        0.1, gt=0, le=1, description="share of the calibration rows on which the curvature of the loss is measured"
    )

    @property
    def continues(self) -> bool:
        """The curvature is measured on the dense model."""
        return False
