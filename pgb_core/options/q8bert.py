"""Options of quantisation-aware training."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pgb_core.options.quantised import QuantisedOptions


class Q8BertOptions(QuantisedOptions):
    """Weights and activations are rounded to 8 bits in all of the re-finetuning."""

    summary: ClassVar[str] = (
        "trains with weights and activations rounded to int8; below --keep 1 it uses the plan of pgb"
    )
    paper: ClassVar[str] = "Q8BERT: Quantized 8Bit BERT, arXiv 1910.06188"
    of_training: ClassVar[tuple[str, ...]] = ("ema_decay",)

    ema_decay: float = Field(0.9999, ge=0, lt=1, description="decay of the moving average of each activation's maximum")
