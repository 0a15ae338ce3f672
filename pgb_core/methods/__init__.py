"""The methods, one file each. `pgb_core.options` has their options, which need no torch."""

from __future__ import annotations

from pgb_core.config import CompressConfig
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.dense import Dense
from pgb_core.methods.fixed_attention import FixedAttention
from pgb_core.methods.flop import Flop
from pgb_core.methods.kovaleva import Kovaleva
from pgb_core.methods.layerdrop import LayerDropPruning
from pgb_core.methods.magnitude import Magnitude
from pgb_core.methods.michel import Michel
from pgb_core.methods.movement import MovementPruning
from pgb_core.methods.pgb import PGB
from pgb_core.methods.pgb_paper import PGBPaper
from pgb_core.methods.proximal import ProximalPruning
from pgb_core.methods.q8bert import Q8Bert
from pgb_core.methods.qbert import QBert
from pgb_core.methods.quant_noise import QuantNoise
from pgb_core.methods.voita import Voita

METHODS: dict[str, Method] = {
    "pgb": PGB(),
    "pgb-paper": PGBPaper(),
    "michel": Michel(),
    "voita": Voita(),
    "kovaleva": Kovaleva(),
    "magnitude": Magnitude(),
    "movement": MovementPruning(),
    "proximal": ProximalPruning(),
    "layerdrop": LayerDropPruning(),
    "flop": Flop(),
    "fixed-attention": FixedAttention(),
    "q8bert": Q8Bert(),
    "qbert": QBert(),
    "quant-noise": QuantNoise(),
}


def method_of(config: CompressConfig) -> Method:
    """What makes the model smaller; with a share of 1 most have nothing to do."""
    return METHODS[config.method] if not config.as_it_is else Dense()


__all__ = ["METHODS", "Compressed", "Method", "method_of"]
