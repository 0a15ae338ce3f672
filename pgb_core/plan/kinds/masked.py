"""Single weights are kept or removed, at any position of the matrix."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

from pgb_core.errors import PlanError
from pgb_core.plan.kinds.base import Choice, Shape


@dataclass(frozen=True)
class Masked(Choice):
    """bits: one a weight, row by row, the first in the highest bit of a byte; each row begins a new byte.

    Raises PlanError when they are too many or too few, or one stands beyond the end of a row.
    """

    shape: Shape
    bits: bytes
    key: ClassVar[str] = "mask"

    def __post_init__(self) -> None:
        beyond = 8 * self.stride - self.shape[1]
        if len(self.bits) != self.shape[0] * self.stride:
            raise PlanError(f"mask {self.shape}: {len(self.bits)} bytes where {self.shape[0] * self.stride} are needed")
        if beyond and any(byte & ((1 << beyond) - 1) for byte in self.bits[self.stride - 1 :: self.stride]):
            raise PlanError(f"mask {self.shape}: it keeps a weight beyond the end of a row")

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return -(-self.shape[1] // 8)

    @property
    def cost(self) -> int:
        """Weights kept."""
        return int.from_bytes(self.bits).bit_count()

    @property
    def products(self) -> int:
        """Zeros are multiplied too."""
        return self.shape[0] * self.shape[1]

    def density(self, height: int, width: int) -> list[list[float]]:
        """The share kept of each cell."""
        grid = [[0.0] * width for _ in range(height)]
        area = self.shape[0] * self.shape[1] / (height * width)
        edges = [x * self.shape[1] // width for x in range(width + 1)]
        for row in range(self.shape[0]):
            line = int.from_bytes(self.bits[row * self.stride : (row + 1) * self.stride])
            cells = grid[row * height // self.shape[0]]
            for x, (first, last) in enumerate(pairwise(edges)):
                part = line >> (8 * self.stride - last)
                cells[x] += (part & ((1 << (last - first)) - 1)).bit_count() / area
        return grid

    def encoded(self) -> dict[str, Any]:
        """Shape, and the bits in base64."""
        return {"shape": list(self.shape), "mask": base64.b64encode(self.bits).decode()}

    @classmethod
    def decoded(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `encoded`."""
        rows, cols = value["shape"]
        try:
            bits = base64.b64decode(value["mask"], validate=True)
        except binascii.Error as error:
            raise PlanError(f"mask {rows}x{cols}: not base64") from error
        return cls((int(rows), int(cols)), bits)
