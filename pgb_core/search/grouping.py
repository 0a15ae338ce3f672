"""The search for groups: which rows share which columns.

The search minimises the importance `sum I[i, j]` of weights that are in no group, for a fixed number of kept
weights. Two structures have groups:

* `disjoint`: G equal blocks on a permuted diagonal; rows and columns are both partitioned
  (docs/method.md describes this reading of PGB; the alternation follows Zhao and Luk 2019).
* `shared`: rows are partitioned or left out; each group chooses its own columns, and groups may share columns.
  At run time the permutation is a gather, and repeating an index in a gather costs nothing.

Row groups are `[groups, rows]` index tensors, column groups `[groups, cols]`.

Sums are taken in float64, as products with masks of 0 and 1. So the choice does not depend on the order of summation,
and not on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Mask = NDArray[np.bool_]
Sums = NDArray[np.float64]
# The exact assignment takes a table of rows x slots; past so many entries it is too slow.
EXACT_ENTRIES = 1 << 16
POWER_STEPS = 8


@dataclass(frozen=True)
class Blocks:
    """Equal blocks, rows [groups, r] and cols [groups, c] as indices, and the importance inside them."""

    rows: Tensor
    cols: Tensor
    kept: float

    @property
    def cost(self) -> int:
        """Weights inside the blocks."""
        return self.rows.shape[0] * self.rows.shape[1] * self.cols.shape[1]


def importance_kept(importance: Tensor, rows: Tensor, cols: Tensor) -> float:
    """Sum of `importance` [out, in] inside the blocks `rows` [G, r] x `cols` [G, c]."""
    return float(importance[rows.unsqueeze(2), cols.unsqueeze(1)].sum())


def divisors(importance: Tensor, g_max: int) -> list[int]:
    """Counts of equal groups from 1 to `g_max` that both sizes of a matrix [out, in] can be split into, ascending."""
    return [n for n in range(1, min(g_max, *importance.shape) + 1) if all(size % n == 0 for size in importance.shape)]


def disjoint(importance: Tensor, groups: int, passes: int) -> Blocks:
    """G equal blocks, one at a time on what remains, from the top-left.

    importance: [out, in]; `groups` must divide both sizes. Each group alternates `passes` times
    between its best columns and its best rows, then is fixed.
    """
    values = importance.double()
    n_rows, n_cols = (size // groups for size in importance.shape)
    free_rows, free_cols = (np.ones(size, bool) for size in importance.shape)
    rows, cols = [], []
    for _ in range(groups):
        picked_rows = free_rows
        for _ in range(passes):
            picked_cols = _highest_of(free_cols, _product(picked_rows, values), n_cols)
            before, picked_rows = picked_rows, _highest_of(free_rows, _product(picked_cols, values.T), n_rows)
            if np.array_equal(before, picked_rows):
                break
        rows.append(np.flatnonzero(picked_rows))
        cols.append(np.flatnonzero(picked_cols))
        free_rows = free_rows & ~picked_rows
        free_cols = free_cols & ~picked_cols
    return _blocks(importance, torch.from_numpy(np.stack(rows)), torch.from_numpy(np.stack(cols)))


class Shared:
    """Searches for shared groups in one matrix, `importance` [out, in]: rows disjoint, columns free."""

    def __init__(self, importance: Tensor, passes: int) -> None:
        self.values = importance.double()
        self.passes = passes

    def search(self, groups: int, rows: int, cols: int, start: Tensor | None = None) -> Blocks:
        """`groups` blocks of `rows` x `cols`.

        Alternates exact column choice and balanced row assignment, keeping a step only if it raises the importance
        kept. `start` [groups, rows] replaces the first split, which orders rows along the main direction in which
        their column profiles differ.
        """
        first = self.split(groups, rows) if start is None else start
        row_mask = np.zeros((groups, len(self.values)), bool)
        np.put_along_axis(row_mask, first.numpy(), True, axis=1)
        col_mask, kept = self._columns(row_mask, cols)
        for _ in range(self.passes):
            new_rows = assign(_product(col_mask, self.values.T), rows)
            if np.array_equal(new_rows, row_mask):
                break
            new_cols, new_kept = self._columns(new_rows, cols)
            if new_kept <= kept:
                break
            row_mask, col_mask, kept = new_rows, new_cols, new_kept
        return Blocks(_indices(row_mask), _indices(col_mask), kept)

    def split(self, groups: int, rows: int) -> Tensor:
        """The first row groups, [groups, rows]."""
        if groups * rows == len(self.values):
            return self._order.view(groups, rows).sort(dim=1).values
        kept = _top(self.values.sum(1), groups * rows)
        return kept[_main_order(self.values[kept])].view(groups, rows).sort(dim=1).values

    @cached_property
    def _order(self) -> Tensor:
        return _main_order(self.values)

    def _columns(self, row_mask: Mask, cols: int) -> tuple[Mask, float]:
        """The best `cols` columns of each group, and the importance that they keep."""
        sums = _product(row_mask, self.values)
        picked = _highest(sums, cols)
        return picked, float(sums[picked].sum())


def best_columns(sums: Sums, counts: Sequence[int]) -> list[tuple[Tensor, float]]:
    """For each count, the columns [G, count] with the highest sums [G, in] and what they keep."""
    order = np.argsort(-sums, axis=1, kind="stable")
    running = np.take_along_axis(sums, order, 1).cumsum(1).sum(0)
    return [(torch.from_numpy(np.sort(order[:, :count], axis=1)), float(running[count - 1])) for count in counts]


def assign(gains: Sums, capacity: int) -> Mask:
    """Give each of G groups `capacity` rows so that the sum of gains is high; extra rows go.

    gains: [G, rows] -> a mask [G, rows] of who has which. Exact for one and two groups and for few rows; otherwise
    a crowded group serves the rows that would lose most by their second choice, and closes.
    """
    groups, n_rows = gains.shape
    if groups == 1:
        return _highest(gains, capacity)
    if groups == 2 and n_rows == 2 * capacity:
        first = _highest((gains[0] - gains[1])[np.newaxis], capacity)
        return np.concatenate([first, ~first])
    if n_rows * groups * capacity > EXACT_ENTRIES:
        return _served_by_regret(gains, capacity)
    picked, slot = linear_sum_assignment(gains.T.repeat(capacity, axis=1), maximize=True)
    served = np.zeros(gains.shape, bool)
    served[slot // capacity, picked] = True
    return served


def _served_by_regret(gains: Sums, capacity: int) -> Mask:
    groups, n_rows = gains.shape
    served = np.zeros(gains.shape, bool)
    if n_rows > groups * capacity:
        kept = _highest(gains.max(0)[np.newaxis], groups * capacity)[0]
        served[:, kept] = _served_by_regret(gains[:, kept], capacity)
        return served
    waiting = np.arange(n_rows)
    closed = np.zeros(groups, bool)
    while len(waiting):
        wishes = gains[:, waiting]
        wishes[closed] = -np.inf
        choice, places = wishes.argmax(0), np.arange(len(waiting))
        best = wishes[choice, places]
        wishes[choice, places] = -np.inf
        regret = best - wishes.max(0)
        crowded = np.flatnonzero(np.bincount(choice, minlength=groups) > capacity)
        if not len(crowded):
            served[choice, waiting] = True
            break
        for group in crowded:
            asking = np.flatnonzero(choice == group)
            first = asking[_highest(regret[asking][np.newaxis], capacity)[0]]
            served[group, waiting[first]] = True
        closed[crowded] = True
        waiting = np.flatnonzero(~served.any(0))
    return served


def _main_order(values: Tensor) -> Tensor:
    """Rows along the main direction in which their column profiles differ."""
    profile = values.sqrt()
    profile = profile / profile.norm(dim=1, keepdim=True).clamp_min(1e-30)
    profile = profile - profile.mean(0)
    direction = profile[profile.norm(dim=1).argmax()]
    for _ in range(POWER_STEPS):
        direction = profile.T @ (profile @ direction)
        direction = direction / direction.norm().clamp_min(1e-30)
    return (profile @ direction).argsort(stable=True)


def _product(mask: Mask, values: Tensor) -> Sums:
    """Sums over the rows of `values` [n, m] that each mask [..., n] picks, [..., m]."""
    found: Sums = (torch.from_numpy(mask).double() @ values).numpy()
    return found


def _highest(values: Sums, count: int) -> Mask:
    """The `count` largest of each row of `values` [G, n]; ties go to the lower index."""
    size = values.shape[1]
    if count >= size:
        return np.ones(values.shape, bool)
    least = np.partition(values, size - count, axis=1)[:, size - count, np.newaxis]
    picked: Mask = values >= least
    if np.count_nonzero(picked) > count * len(values):
        for row, line, limit in zip(picked, values, least[:, 0], strict=True):
            ties = np.flatnonzero(line == limit)
            row[ties[len(ties) - (np.count_nonzero(row) - count) :]] = False
    return picked


def _highest_of(free: Mask, values: Sums, count: int) -> Mask:
    """The `count` largest where `free`, as a mask over all."""
    picked = np.zeros_like(free)
    picked[free] = _highest(values[free][np.newaxis], count)[0]
    return picked


def _indices(mask: Mask) -> Tensor:
    """[G, n] with equally many true in each row -> their indices, ascending."""
    return torch.from_numpy(np.nonzero(mask)[1].reshape(len(mask), -1))


def _blocks(importance: Tensor, rows: Tensor, cols: Tensor) -> Blocks:
    return Blocks(rows, cols, importance_kept(importance, rows, cols))


def _top(values: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest values, ascending; ties go to the lower index."""
    return values.argsort(descending=True, stable=True)[:count].sort().values
