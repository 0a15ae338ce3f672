"""Prices of the parts of a model as data: one file for each form, with the machine that it was measured on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pgb_core.search.prices import Prices

FOLDER = Path(str(files(__name__)))
_USUAL = "fp32"


@dataclass(frozen=True)
class Table:
    """Prices as measured, the form that they were measured for, and the instruction sets of the machine.

    weight: how much of them a plan counts; see `price_weight` of PGBOptions.
    """

    form: str
    instruction_sets: tuple[str, ...]
    prices: Prices
    weight: float = 1.0

    @property
    def name(self) -> str:
        """Form and instruction sets, in a line."""
        return f"{self.form} on {', '.join(self.instruction_sets)}"

    def counted(self, weight: float | None = None) -> Prices:
        """The prices that a plan counts. weight: in place of the table's."""
        return self.prices.weighed(self.weight if weight is None else weight)


def table_of(form: str) -> Table:
    """The prices of a form. A form that nobody measured has those of fp32."""
    path = FOLDER / f"{form}.json"
    if not path.is_file():
        return table_of(_USUAL)
    found = json.loads(path.read_text("utf-8"))
    weight = float(found.get("weight", 1.0))
    return Table(form, tuple(found["machine"]["instruction_sets"]), Prices(**found["prices"]), weight)
