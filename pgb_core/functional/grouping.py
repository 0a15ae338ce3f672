"""The search for groups: which rows share which columns.

Minimised throughout: the importance `sum I[i, j]` over weights in no group, at a fixed number of
kept weights. Two structures:

* `disjoint`: G equal blocks on a permuted diagonal; rows and columns are both partitioned
  (the reading of PGB that METHOD notes describe; the alternation follows Zhao and Luk 2019).
* `shared`: rows partitioned or left out, columns chosen by each group alone, overlap allowed.
  At run time the permutation is a gather, and a gather may repeat an index for nothing.

Row groups are `[groups, rows]` index tensors, column groups `[groups, cols]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@dataclass(frozen=True)
class Blocks:
    """Index tensors of equal blocks, and the importance inside them."""

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


def disjoint(importance: Tensor, groups: int, passes: int = 6) -> Blocks:
    """G equal blocks, one at a time on what remains, from the top-left.

    importance: [out, in]; `groups` must divide both sizes. Each group alternates `passes` times
    between its best columns and its best rows, then is fixed.
    """
    n_rows, n_cols = (size // groups for size in importance.shape)
    free_rows, free_cols = (torch.arange(size, device=importance.device) for size in importance.shape)
    rows, cols = [], []
    for _ in range(groups):
        rest = importance[free_rows][:, free_cols]
        picked_rows = torch.arange(rest.shape[0], device=rest.device)
        for _ in range(passes):
            picked_cols = _top(rest[picked_rows].sum(0), n_cols)
            picked_rows = _top(rest[:, picked_cols].sum(1), n_rows)
        rows.append(free_rows[picked_rows])
        cols.append(free_cols[picked_cols])
        free_rows = _without(free_rows, picked_rows)
        free_cols = _without(free_cols, picked_cols)
    return _blocks(importance, torch.stack(rows), torch.stack(cols))


def shared(
    importance: Tensor, groups: int, rows: int, cols: int, passes: int = 6, start: Tensor | None = None
) -> Blocks:
    """`groups` blocks of `rows` x `cols`; rows disjoint, columns free.

    importance: [out, in]. Alternates exact column choice and balanced row assignment, keeping a
    step only if it raises the importance kept. `start` [groups, rows] replaces the first split,
    which orders rows along the main direction in which their column profiles differ.
    """
    row_groups = _split(importance, groups, rows) if start is None else start
    col_groups = _best_columns(importance, row_groups, cols)
    best = _blocks(importance, row_groups, col_groups)
    for _ in range(passes):
        gains = importance.new_empty(importance.shape[0], groups)
        for index in range(groups):
            gains[:, index] = importance[:, best.cols[index]].sum(1)
        row_groups = assign(gains, rows)
        candidate = _blocks(importance, row_groups, _best_columns(importance, row_groups, cols))
        if candidate.kept <= best.kept:
            break
        best = candidate
    return best


def assign(gains: Tensor, capacity: int) -> Tensor:
    """Give each of G groups `capacity` rows so that the sum of gains is high; extra rows go.

    gains: [rows, G] -> [G, capacity]. Exact for one and two groups and for few rows; otherwise
    a crowded group serves the rows that would lose most by their second choice, and closes.
    """
    n_rows, groups = gains.shape
    if groups == 1:
        return _top(gains[:, 0], capacity).unsqueeze(0)
    if n_rows * groups * capacity <= 1 << 16:
        slots = gains.repeat_interleave(capacity, dim=1)
        picked, slot = linear_sum_assignment(slots.double().cpu().numpy(), maximize=True)
        owner = torch.full((n_rows,), -1, device=gains.device)
        owner[torch.as_tensor(picked, device=gains.device)] = torch.as_tensor(slot // capacity, device=gains.device)
    else:
        owner = _served_by_regret(gains, capacity)
    return torch.stack([torch.nonzero(owner == index).flatten() for index in range(groups)])


def _served_by_regret(gains: Tensor, capacity: int) -> Tensor:
    """Owner of each row (-1 for none). gains: [rows, G]."""
    n_rows, groups = gains.shape
    if n_rows > groups * capacity:
        kept = _top(gains.max(1).values, groups * capacity)
        owner = gains.new_full((n_rows,), -1, dtype=torch.long)
        owner[kept] = _served_by_regret(gains[kept], capacity)
        return owner
    owner = gains.new_full((n_rows,), -1, dtype=torch.long)
    waiting = torch.arange(n_rows, device=gains.device)
    closed = torch.zeros(groups, dtype=torch.bool, device=gains.device)
    while len(waiting):
        wishes = gains[waiting].masked_fill(closed, -torch.inf)
        best, choice = wishes.max(1)
        second = wishes.scatter(1, choice.unsqueeze(1), -torch.inf).max(1).values
        crowded = torch.bincount(choice, minlength=groups) > capacity
        if not crowded.any():
            owner[waiting] = choice
            break
        for group in torch.nonzero(crowded).flatten():
            asking = torch.nonzero(choice == group).flatten()
            served = asking[_top((best - second)[asking], capacity)]
            owner[waiting[served]] = group
        closed |= crowded
        waiting = torch.nonzero(owner < 0).flatten()
    return owner


def _split(importance: Tensor, groups: int, rows: int) -> Tensor:
    kept = _top(importance.sum(1), groups * rows)
    profile = importance[kept].sqrt()
    profile = profile / profile.norm(dim=1, keepdim=True).clamp_min(1e-30)
    profile = profile - profile.mean(0)
    direction = profile[profile.norm(dim=1).argmax()]
    for _ in range(8):
        direction = profile.T @ (profile @ direction)
        direction = direction / direction.norm().clamp_min(1e-30)
    order = (profile @ direction).argsort(stable=True)
    return kept[order].view(groups, rows).sort(dim=1).values


def _best_columns(importance: Tensor, row_groups: Tensor, cols: int) -> Tensor:
    return torch.stack([_top(importance[rows].sum(0), cols) for rows in row_groups])


def _blocks(importance: Tensor, rows: Tensor, cols: Tensor) -> Blocks:
    return Blocks(rows, cols, importance_kept(importance, rows, cols))


def _top(values: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest values, ascending; ties go to the lower index."""
    return values.argsort(descending=True, stable=True)[:count].sort().values


def _without(values: Tensor, positions: Tensor) -> Tensor:
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[positions] = False
    return values[mask]
