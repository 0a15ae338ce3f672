"""The base for options of methods that train for int8."""

from __future__ import annotations

from typing import ClassVar

from pgb_core.options.base import MethodOptions


class QuantisedOptions(MethodOptions):
    """Such a method removes nothing by itself; below --keep 1 it uses the plan of PGB."""

    acts_on: ClassVar[str] = "numbers"

    @property
    def quantises(self) -> bool:
        """That is the purpose of the method."""
        return True

    @property
    def uses_labels(self) -> bool:
        """The scores of the plan use them."""
        return True

    @property
    def continues(self) -> bool:
        """The plan comes from scores, which any encoder has."""
        return True

    @property
    def priced(self) -> bool:
        """The plan of PGB weighs parts by their run time."""
        return True
