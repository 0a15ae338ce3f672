"""Options of quantisation-aware training."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class Q8BertOptions(MethodOptions):
    """Weights and activations are rounded to 8 bits in all of the re-finetuning."""

    summary: ClassVar[str] = "trains with the numbers of int8; below --keep 1 on the plan that pgb makes"
    paper: ClassVar[str] = "Q8BERT: Quantized 8Bit BERT, arXiv 1910.06188"
    acts_on: ClassVar[str] = "numbers"

    ema_decay: float = Field(
        0.9999, ge=0, lt=1, description="share of its old value that the average of an activation's maximum keeps"
    )

    @property
    def quantises(self) -> bool:
        """It is what the method is for."""
        return True

    @property
    def uses_labels(self) -> bool:
        """The scores of the plan do."""
        return True
