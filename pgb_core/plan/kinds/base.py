"""What is asked of every kind of linear map that a plan may choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

Shape = tuple[int, int]


class Choice(Protocol):
    """What becomes of one `[out, in]` matrix. Indices are always those of the dense matrix.

    key: the field of its JSON that no other kind has. shape: of the dense matrix. cost: weights that are kept, which is
    also the number of multiply-adds a token. rows: outputs that have weights, in the order of the compact map. cols:
    inputs that are read, ascending.
    """

    key: ClassVar[str]

    @property
    def shape(self) -> Shape:
        """Outputs, inputs."""

    @property
    def cost(self) -> int:
        """Weights kept."""

    @property
    def rows(self) -> Sequence[int]:
        """Outputs that have weights."""

    @property
    def cols(self) -> Sequence[int]:
        """Inputs that are read."""

    @property
    def described(self) -> tuple[int, Shape]:
        """How many parts it has, and the size of one, for a reader."""

    def density(self, height: int, width: int) -> list[list[float]]:
        """Share kept of each cell of a picture, 0 to 1."""

    def encoded(self) -> dict[str, Any]:
        """As JSON."""

    @classmethod
    def decoded(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `encoded`."""


def shares(indices: Sequence[int], size: int, cells: int) -> dict[int, float]:
    """Share of each cell that indices of 0..size-1 fill, when the size is drawn in so many cells."""
    found: dict[int, float] = {}
    for index in indices:
        cell = index * cells // size
        found[cell] = found.get(cell, 0.0) + cells / size
    return found
