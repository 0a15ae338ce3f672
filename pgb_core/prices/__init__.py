"""Prices of the parts of a model, as data: one file a form of graph and the numbers that it computes in."""

from __future__ import annotations

import json
from importlib.resources import files

from pgb_core.search.prices import Prices

_USUAL = "fp32"


def prices_of(form: str) -> Prices:
    """Those measured for a form of graph. A form that nobody measured has those of fp32."""
    every = {entry.name: entry for entry in files(__name__).iterdir()}
    found = every.get(f"{form}.json", every[f"{_USUAL}.json"])
    return Prices(**json.loads(found.read_text("utf-8"))["prices"])
