"""Options of quantisation-aware training."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.base import MethodOptions


class Q8BertOptions(MethodOptions):
    """Weights and activations are rounded to 8 bits in all of the re-finetuning."""

    summary: ClassVar[str] = (
        "trains with weights and activations rounded to int8; below --keep 1 it uses the plan of pgb"
    )
    paper: ClassVar[str] = "Q8BERT: Quantized 8Bit BERT, arXiv 1910.06188"
    acts_on: ClassVar[str] = "numbers"
    of_training: ClassVar[tuple[str, ...]] = ("ema_decay",)

    ema_decay: float = Field(0.9999, ge=0, lt=1, description="decay of the moving average of each activation's maximum")

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
