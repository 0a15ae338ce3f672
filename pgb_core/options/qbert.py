"""Options of mixed precision by sensitivity."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class QBertOptions(MethodOptions):
    """The layers to whose weights the loss is most sensitive stay in float32, the others learn to be int8."""

    summary: ClassVar[str] = "int8 but for the most sensitive layers; below --keep 1 on the plan that pgb makes"
    paper: ClassVar[str] = "Q-BERT: Hessian Based Ultra Low Precision Quantization of BERT, arXiv 1909.05840"
    acts_on: ClassVar[str] = "numbers"

    exact: float = Field(
        0.25, ge=0, le=1, description="share of the layers that stay in float32 in int8 forms, the most sensitive ones"
    )
    sensitivity_rows: float = Field(
        0.1, gt=0, le=1, description="share of the rows of calibration on which the curvature of the loss is measured"
    )

    @property
    def quantises(self) -> bool:
        """It is what the method is for."""
        return True

    @property
    def uses_labels(self) -> bool:
        """The curvature is of the loss on them, and so are the scores of the plan."""
        return True
