"""Groups: dense blocks, each between some outputs and some inputs of a matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pgb_core.errors import PlanError
from pgb_core.plan.kinds.base import Choice, Shape, shares
from pgb_core.plan.kinds.dense import Keep


@dataclass(frozen=True)
class Group:
    """A dense block: every output in `rows` reads every input in `cols`, in this order."""

    rows: tuple[int, ...]
    cols: tuple[int, ...]


@dataclass(frozen=True)
class Grouping(Choice):
    """Blocks of one `[out, in]` matrix: rows are disjoint, columns may repeat between groups.

    A row in no group has no weights, only its bias; a grouping without groups drops the matrix.
    All groups are of one size, so that they run as one grouped convolution or batched product.

    Raises PlanError when rows repeat, an index is out of range, or sizes differ.
    """

    groups: tuple[Group, ...]
    shape: Shape
    key: ClassVar[str] = "groups"

    def __post_init__(self) -> None:
        rows = [row for group in self.groups for row in group.rows]
        if len(set(rows)) != len(rows):
            raise PlanError(f"grouping {self.shape}: a row stands in two groups; rows must be disjoint")
        if len({(len(g.rows), len(g.cols)) for g in self.groups}) > 1:
            raise PlanError(f"grouping {self.shape}: groups differ in size; make them equal")
        for group in self.groups:
            if not group.rows or not group.cols:
                raise PlanError(f"grouping {self.shape}: an empty group; leave it out")
            if len(set(group.cols)) != len(group.cols):
                raise PlanError(f"grouping {self.shape}: a group names a column twice")
            if not (min(group.rows) >= 0 and max(group.rows) < self.shape[0]):
                raise PlanError(f"grouping {self.shape}: a row is out of range")
            if not (min(group.cols) >= 0 and max(group.cols) < self.shape[1]):
                raise PlanError(f"grouping {self.shape}: a column is out of range")

    @property
    def cost(self) -> int:
        """Weights kept: the sum of |rows| x |cols|."""
        return sum(len(g.rows) * len(g.cols) for g in self.groups)

    @property
    def rows(self) -> Sequence[int]:
        """All grouped rows, in group order."""
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def cols(self) -> Sequence[int]:
        """All columns that some group reads, ascending."""
        return tuple(sorted({col for group in self.groups for col in group.cols}))

    @property
    def described(self) -> tuple[int, Shape]:
        """Groups, and the size of each."""
        return len(self.groups), (len(self.groups[0].rows), len(self.groups[0].cols)) if self.groups else (0, 0)

    def density(self, height: int, width: int) -> list[list[float]]:
        """Each block at its place."""
        grid = [[0.0] * width for _ in range(height)]
        for group in self.groups:
            across = shares(group.cols, self.shape[1], width)
            for y, part in shares(group.rows, self.shape[0], height).items():
                for x, other in across.items():
                    grid[y][x] += part * other
        return grid

    def encoded(self) -> dict[str, Any]:
        """The indices of every block."""
        return {"shape": list(self.shape), "groups": [[list(g.rows), list(g.cols)] for g in self.groups]}

    @classmethod
    def decoded(cls, value: Mapping[str, Any]) -> Self:
        """Inverse of `encoded`."""
        rows, cols = value["shape"]
        groups = tuple(Group(tuple(map(int, r)), tuple(map(int, c))) for r, c in value["groups"])
        return cls(groups, (int(rows), int(cols)))


def nothing(shape: Shape) -> Grouping:
    """The choice that drops a matrix."""
    return Grouping((), shape)


def block(rows: Collection[int], cols: Collection[int], shape: Shape) -> Choice:
    """The choice that keeps these rows of these columns: of one block, of the whole matrix, or of nothing."""
    if not rows or not cols:
        return nothing(shape)
    if (len(rows), len(cols)) == shape:
        return Keep(shape)
    return Grouping((Group(tuple(rows), tuple(cols)),), shape)
