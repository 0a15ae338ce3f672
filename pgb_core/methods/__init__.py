"""The methods, one file each. `pgb_core.options` has their options, which need no torch."""

from __future__ import annotations

from pgb_core.config import CompressConfig
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.dense import Dense
from pgb_core.methods.layerdrop import Layerdrop
from pgb_core.methods.magnitude import Magnitude
from pgb_core.methods.michel import Michel
from pgb_core.methods.pgb import PGB
from pgb_core.methods.pgb_paper import PGBPaper
from pgb_core.methods.voita import Voita

METHODS: dict[str, Method] = {
    "pgb": PGB(),
    "pgb-paper": PGBPaper(),
    "magnitude": Magnitude(),
    "michel": Michel(),
    "voita": Voita(),
    "layerdrop": Layerdrop(),
}


def method_of(config: CompressConfig) -> Method:
    """What makes the model smaller; with a share of 1 there is nothing to do."""
    return METHODS[config.method] if config.keep < 1 else Dense()


__all__ = ["METHODS", "Compressed", "Method", "method_of"]
