"""Two matrices of low rank in place of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pgb_core.errors import PlanError
from pgb_core.plan.kinds.base import Choice, Shape


@dataclass(frozen=True)
class LowRank(Choice):
    """`W = U V`, U of [out, rank] and V of [rank, in]: the best pair of that rank, by singular values.

    It holds no numbers, as they follow from the dense matrix. Raises PlanError for a rank that saves nothing.
    """

    shape: Shape
    rank: int
    key: ClassVar[str] = "rank"

    def __post_init__(self) -> None:
        if not self.rank >= 1 or self.cost >= self.shape[0] * self.shape[1]:
            raise PlanError(f"low rank {self.shape}: rank {self.rank} saves no weights; keep the matrix, or lower it")

    @property
    def cost(self) -> int:
        """Weights of both matrices."""
        return self.rank * (self.shape[0] + self.shape[1])

    @property
    def described(self) -> tuple[int, Shape]:
        """One part: the pair, as wide as both together."""
        return 1, (self.rank, sum(self.shape))

    def density(self, height: int, width: int) -> list[list[float]]:
        """The share kept, everywhere."""
        return [[self.cost / (self.shape[0] * self.shape[1])] * width for _ in range(height)]

    def encoded(self) -> dict[str, Any]:
        """Shape and rank."""
        return {"shape": list(self.shape), "rank": self.rank}

    @classmethod
    def decoded(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `encoded`."""
        rows, cols = value["shape"]
        return cls((int(rows), int(cols)), int(value["rank"]))
