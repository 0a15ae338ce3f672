"""What every kind of linear map in a plan must define."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

Shape = tuple[int, int]


class Choice(ABC):
    """What becomes of one `[out, in]` matrix. Indices are always those of the dense matrix.

    key: the field of its JSON that no other kind has. shape: of the dense matrix, outputs and inputs.
    """

    key: ClassVar[str]
    shape: Shape

    @property
    @abstractmethod
    def cost(self) -> int:
        """Weights that are kept."""

    @property
    def products(self) -> int:
        """Multiply-adds a token; as many as weights, unless a kind says otherwise."""
        return self.cost

    @property
    def rows(self) -> Sequence[int]:
        """Outputs that have weights, in the order of the compact map; all, unless a kind says otherwise."""
        return range(self.shape[0])

    @property
    def cols(self) -> Sequence[int]:
        """Inputs that are read, ascending; all, unless a kind says otherwise."""
        return range(self.shape[1])

    @property
    def described(self) -> tuple[int, Shape]:
        """How many parts it has, and the size of one, for a reader."""
        return 1, self.shape

    @abstractmethod
    def density(self, height: int, width: int) -> list[list[float]]:
        """Share kept of each cell of a picture, 0 to 1."""

    @abstractmethod
    def encoded(self) -> dict[str, Any]:
        """As JSON."""

    @classmethod
    @abstractmethod
    def decoded(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `encoded`."""


def shares(indices: Sequence[int], size: int, cells: int) -> dict[int, float]:
    """Share of each cell that indices of 0..size-1 fill, when the size is drawn in so many cells."""
    found: dict[int, float] = {}
    for index in indices:
        cell = index * cells // size
        found[cell] = found.get(cell, 0.0) + cells / size
    return found
