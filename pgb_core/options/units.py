"""Bases for options of methods that remove whole heads and neurons, or something else, by their `structure`."""

from __future__ import annotations

from pgb_core.options.base import MethodOptions


class UnitsOptions(MethodOptions):
    """With the structure units, whole heads and neurons are removed; with any other, what `acts_on` says."""

    structure: str

    @property
    def component(self) -> str:
        """See MethodOptions."""
        return "heads and neurons" if self.structure == "units" else self.acts_on


class WeightsOptions(UnitsOptions):
    """With any other structure than units, single weights are set to 0."""

    @property
    def saves_flops(self) -> bool:
        """Zeros of single weights are still multiplied."""
        return self.structure == "units"

    def stored(self, keep: float) -> float:
        """A graph still stores the zeros of single weights."""
        return keep if self.structure == "units" else 1.0
