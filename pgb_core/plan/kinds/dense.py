"""The matrix stays unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pgb_core.plan.kinds.base import Choice, Shape


@dataclass(frozen=True)
class Keep(Choice):
    """Leave the matrix dense."""

    shape: Shape
    key: ClassVar[str] = "keep"

    @property
    def cost(self) -> int:
        """All weights."""
        return self.shape[0] * self.shape[1]

    def density(self, height: int, width: int) -> list[list[float]]:
        """All of it."""
        return [[1.0] * width for _ in range(height)]

    def encoded(self) -> dict[str, Any]:
        """Its shape."""
        return {"keep": list(self.shape)}

    @classmethod
    def decoded(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `encoded`."""
        rows, cols = value["keep"]
        return cls((int(rows), int(cols)))
