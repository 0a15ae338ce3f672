"""What compression costs in accuracy, foretold from the importance that a plan keeps.

The share that is lost of what the dense model has above chance is taken for `scale * (1 - kept) ** power`. The two
numbers, and how far trained models were from it, are in `fit.json`, which `python -m benchmarks.forecast` writes. They
are of few models, so what is told is a range.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

FILE = Path(str(files(__name__))) / "fit.json"
LEAST = 0.02  # share of what is above chance, below which a difference is no more than the error of a measurement


@dataclass(frozen=True)
class Fit:
    """low, high: of the middle 80% of the rows, each foretold without itself: (found - foretold) / (foretold + LEAST).

    rows: trained models, of so many checkpoints. method: that all of them were made by.
    """

    scale: float
    power: float
    low: float
    high: float
    rows: int
    checkpoints: int
    method: str

    def lost(self, kept: float) -> float:
        """Share of what is above chance. kept: of the importance, 0 to 1."""
        return float(self.scale * max(0.0, 1 - kept) ** self.power)


@dataclass(frozen=True)
class Expected:
    """Points that are lost to the dense model; between `low` and `high` for four models in five."""

    low: float
    middle: float
    high: float


def expected(fit: Fit, kept: float, above: float) -> Expected:
    """What a plan costs. kept: share of the importance; above: points that the dense model has above chance."""
    middle = fit.lost(kept)
    low, high = (above * (middle + (middle + LEAST) * error) for error in (fit.low, fit.high))
    return Expected(low, above * middle, min(above, high))


@cache
def known() -> Fit:
    """The fit that comes with the package."""
    return Fit(**json.loads(FILE.read_text("utf-8"))["fit"])
