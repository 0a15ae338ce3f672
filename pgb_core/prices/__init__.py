"""Prices of the parts of a model, as data: one file a form of graph, its numbers and the instruction sets it ran on."""

from __future__ import annotations

import json
from importlib.resources import files

from pgb_core.search.prices import Prices

_USUAL = "cpu"


def prices_of(form: str) -> Prices:
    """Those measured for a form of graph. A form that nobody measured has those of the CPU's in float32."""
    texts = [entry.read_text("utf-8") for entry in files(__name__).iterdir() if entry.name.endswith(".json")]
    by_form = {found["form"]: found["prices"] for found in map(json.loads, texts)}
    return Prices(**by_form.get(form, by_form[_USUAL]))
