"""Names and options of the methods and forms, without importing torch. The methods are in `pgb_core.methods`."""

from __future__ import annotations

from pgb_core.options.base import MethodOptions
from pgb_core.options.fixed_attention import FixedAttentionOptions
from pgb_core.options.flop import FlopOptions
from pgb_core.options.kovaleva import KovalevaOptions
from pgb_core.options.layerdrop import LayerDropOptions
from pgb_core.options.magnitude import MagnitudeOptions
from pgb_core.options.michel import MichelOptions
from pgb_core.options.movement import MovementOptions
from pgb_core.options.pgb import PGBOptions
from pgb_core.options.pgb_paper import PGBPaperOptions
from pgb_core.options.proximal import ProximalOptions
from pgb_core.options.q8bert import Q8BertOptions
from pgb_core.options.qbert import QBertOptions
from pgb_core.options.quant_noise import QuantNoiseOptions
from pgb_core.options.voita import VoitaOptions

METHODS: dict[str, type[MethodOptions]] = {
    "pgb": PGBOptions,
    "pgb-paper": PGBPaperOptions,
    "michel": MichelOptions,
    "voita": VoitaOptions,
    "kovaleva": KovalevaOptions,
    "magnitude": MagnitudeOptions,
    "movement": MovementOptions,
    "proximal": ProximalOptions,
    "layerdrop": LayerDropOptions,
    "flop": FlopOptions,
    "fixed-attention": FixedAttentionOptions,
    "q8bert": Q8BertOptions,
    "qbert": QBertOptions,
    "quant-noise": QuantNoiseOptions,
}
# Forms of the exported model, with the numbers of their products. `pgb_core.export.forms` writes them.
FORMS = {
    "fp32": "float32",
    "int8": "int8",
    "openvino": "bfloat16",
    "openvino-int8": "int8",
    "gpu": "float16",
    "torch": "float32",
    "torch-bf16": "bfloat16",
}


def is_int8(form: str) -> bool:
    """Whether a form's products are in int8."""
    return FORMS.get(form) == "int8"


__all__ = ["FORMS", "METHODS", "MethodOptions", "PGBOptions", "is_int8"]
