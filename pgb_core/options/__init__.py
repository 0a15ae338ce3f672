"""What may be chosen, by the names that settings have, without torch. `pgb_core.methods` has the methods themselves."""

from __future__ import annotations

from pgb_core.options.base import MethodOptions
from pgb_core.options.layerdrop import LayerDropOptions
from pgb_core.options.magnitude import MagnitudeOptions
from pgb_core.options.michel import MichelOptions
from pgb_core.options.pgb import PGBOptions
from pgb_core.options.pgb_paper import PGBPaperOptions
from pgb_core.options.voita import VoitaOptions

METHODS: dict[str, type[MethodOptions]] = {
    "pgb": PGBOptions,
    "pgb-paper": PGBPaperOptions,
    "magnitude": MagnitudeOptions,
    "michel": MichelOptions,
    "voita": VoitaOptions,
    "layerdrop": LayerDropOptions,
}
# Forms of the exported model; `pgb_core.export.forms` writes them.
FORMS = ("fp32", "int8", "openvino", "openvino-int8", "gpu", "torch", "torch-bf16")

__all__ = ["FORMS", "METHODS", "MethodOptions", "PGBOptions"]
