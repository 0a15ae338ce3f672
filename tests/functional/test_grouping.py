"""Laws of the group search."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pgb_core.search import grouping
from pgb_core.search.grouping import Shared


def importances(seed: int, rows: int = 24, cols: int = 36) -> Tensor:
    """Heavy-tailed, as real ones are."""
    return torch.rand(rows, cols, generator=torch.Generator().manual_seed(seed)) ** 6


def owners(gains: Tensor, capacity: int) -> Tensor:
    """The rows [groups, capacity] that each group is given, by gains [rows, groups]."""
    served = torch.from_numpy(grouping.assign(gains.T.double().contiguous().numpy(), capacity))
    assert served.sum(1).eq(capacity).all()
    return served.nonzero()[:, 1].view(len(served), -1)


@given(seed=st.integers(0, 2**16), groups=st.sampled_from([1, 2, 3, 4, 6]))
@settings(max_examples=30, deadline=None)
def test_disjoint_blocks_partition_rows_and_columns(seed: int, groups: int) -> None:
    """Every row and every column is in exactly one group."""
    found = grouping.disjoint(importances(seed), groups, 6)
    assert sorted(found.rows.flatten().tolist()) == list(range(24))
    assert sorted(found.cols.flatten().tolist()) == list(range(36))
    assert found.cost == 24 * 36 // groups


@given(seed=st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_one_group_keeps_everything(seed: int) -> None:
    """One group is the dense matrix, in either structure."""
    values = importances(seed)
    total = pytest.approx(float(values.sum()), rel=1e-5)
    assert grouping.disjoint(values, 1, 6).kept == total
    assert Shared(values, 6).search(1, 24, 36).kept == total


@given(
    seed=st.integers(0, 2**16), groups=st.sampled_from([1, 2, 3, 4]), rows=st.integers(1, 6), cols=st.integers(1, 36)
)
@settings(max_examples=40, deadline=None)
def test_shared_rows_are_disjoint_and_shapes_are_as_asked(seed: int, groups: int, rows: int, cols: int) -> None:
    """No row is in two groups, and every block has the size that was asked for."""
    found = Shared(importances(seed), 6).search(groups, rows, cols)
    flat = found.rows.flatten().tolist()
    assert len(set(flat)) == len(flat) == groups * rows
    assert found.cols.shape == (groups, cols)
    assert all(len(set(c)) == cols for c in found.cols.tolist())


@given(seed=st.integers(0, 2**16), groups=st.sampled_from([2, 3, 4]))
@settings(max_examples=30, deadline=None)
def test_search_never_keeps_less_than_it_started_with(seed: int, groups: int) -> None:
    """More passes keep at least as much, and a given start is only improved."""
    values = importances(seed)
    start = torch.arange(24).view(groups, -1)
    before = Shared(values, 0).search(groups, 24 // groups, 12, start).kept
    kept = [Shared(values, p).search(groups, 24 // groups, 12, start).kept for p in range(4)]
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise([before, *kept]))


@given(seed=st.integers(0, 2**16), groups=st.sampled_from([2, 3, 4, 6]))
@settings(max_examples=20, deadline=None)
def test_shared_keeps_at_least_what_every_special_case_keeps(seed: int, groups: int) -> None:
    """Disjoint blocks it only improves; in one group it prunes rows alone, or columns alone, as well as can be."""
    values = importances(seed)
    rows, cols = (size // groups for size in values.shape)
    start = grouping.disjoint(values, groups, 6)
    assert Shared(values, 6).search(groups, rows, cols, start.rows).kept >= start.kept - 1e-5
    rows_only = values.sum(1).topk(rows).values.sum()
    assert Shared(values, 6).search(1, rows, values.shape[1]).kept == pytest.approx(float(rows_only))
    columns_only = values.sum(0).topk(cols).values.sum()
    assert Shared(values, 6).search(1, values.shape[0], cols).kept == pytest.approx(float(columns_only))


@given(seed=st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_exact_assignment_beats_every_random_one(seed: int) -> None:
    """With few rows the balanced assignment is optimal."""
    gains = torch.rand(6, 3, generator=torch.Generator().manual_seed(seed))
    owner = owners(gains, 2)
    value = sum(float(gains[rows, g].sum()) for g, rows in enumerate(owner))
    for order in itertools.permutations(range(6)):
        other = sum(float(gains[row, place // 2]) for place, row in enumerate(order))
        assert value >= other - 1e-6


@pytest.mark.parametrize("wanted", [0.0, 1.0])
def test_regret_assignment_fills_every_group_once(wanted: float) -> None:
    """The fast assignment for many rows is balanced, leaves the least useful rows out, and keeps about all that can be
    kept, also where all rows want the same group."""
    gains = torch.rand(900, 4)
    gains[:, 0] += wanted
    gains[:100] = 0
    owner = owners(gains, 200)
    flat = owner.flatten().tolist()
    assert owner.shape == (4, 200)
    assert len(set(flat)) == 800
    assert min(flat) >= 100
    slots = gains.repeat_interleave(200, dim=1).numpy()
    best = slots[linear_sum_assignment(slots, maximize=True)].sum()
    assert sum(float(gains[rows, group].sum()) for group, rows in enumerate(owner)) >= 0.995 * best


def test_planted_blocks_are_found() -> None:
    """Groups hidden by a permutation are recovered whole."""
    generator = torch.Generator().manual_seed(3)
    values = torch.zeros(24, 36)
    rows, cols = torch.randperm(24, generator=generator), torch.randperm(36, generator=generator)
    for g in range(3):
        values[rows[8 * g : 8 * g + 8].unsqueeze(1), cols[12 * g : 12 * g + 12]] = 1.0 + 0.1 * g
    total = pytest.approx(float(values.sum()))
    assert grouping.disjoint(values, 3, 6).kept == total
    assert Shared(values, 6).search(3, 8, 12).kept == total
