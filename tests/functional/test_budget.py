"""Laws of the allocation."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgb_core.errors import PlanError
from pgb_core.search.budget import Option, allocate, pareto

options = st.builds(
    lambda cost, kept: Option(cost, cost, kept, None),
    st.integers(1, 40),
    st.floats(0, 10, allow_nan=False),
)
menus = st.lists(st.lists(options, min_size=1, max_size=5), min_size=1, max_size=4).map(
    lambda found: [[Option(0, 0, 0.0, None), *menu] for menu in found]
)


@given(found=menus, budget=st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_allocation_never_costs_more_than_its_budget(found: list[list[Option]], budget: int) -> None:
    """And picks one option of every menu."""
    chosen = allocate(found, budget)
    assert sum(o.cost for o in chosen) <= budget
    assert all(option in menu for option, menu in zip(chosen, found, strict=True))


@given(found=menus, budget=st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_allocation_is_within_rounding_of_the_optimum(found: list[list[Option]], budget: int) -> None:
    """No choice that fits 98 percent of the budget keeps more."""
    chosen = sum(o.kept for o in allocate(found, budget))
    best = max(
        sum(o.kept for o in pick) for pick in itertools.product(*found) if sum(o.cost for o in pick) <= 0.98 * budget
    )
    assert chosen >= best - 1e-9


def test_what_keeps_most_together_is_chosen_and_not_what_keeps_most_alone() -> None:
    """One option keeps 6 for 10; two others keep 5 each for 5."""
    none = Option(0, 0, 0.0, "none")
    found = [[none, Option(10, 10, 6.0, "one")], *([none, Option(5, 5, 5.0, "two")] for _ in range(2))]
    assert [option.recipe for option in allocate(found, 10.5)] == ["none", "two", "two"]


@given(found=menus, budget=st.integers(1, 120), needed=st.sets(st.integers(0, 3), min_size=1))
@settings(max_examples=60, deadline=None)
def test_one_of_the_menus_that_are_needed_keeps_something(
    found: list[list[Option]], budget: int, needed: set[int]
) -> None:
    """Where the budget allows it, and nothing that fits 98 percent of the budget and does so keeps more."""
    needed = {n for n in needed if n < len(found)}
    chosen = allocate(found, budget, needed)
    assert sum(o.cost for o in chosen) <= budget

    def fine(pick: Sequence[Option], most: float) -> bool:
        return sum(o.cost for o in pick) <= most and any(pick[n].cost for n in needed)

    every = list(itertools.product(*found))
    assert any(chosen[n].cost for n in needed) == any(fine(pick, budget) for pick in every)
    best = max((sum(o.kept for o in pick) for pick in every if fine(pick, 0.98 * budget)), default=0.0)
    assert sum(o.kept for o in chosen) >= best - 1e-9


def test_an_unreachable_budget_is_an_error() -> None:
    """It names the remedy."""
    with pytest.raises(PlanError, match="use a larger --keep"):
        allocate([[Option(10, 10, 1.0, None)]], 5)


def test_the_pareto_front_drops_what_is_dearer_and_keeps_less() -> None:
    """Only options that nothing of lower price beats are left, by rising price."""
    front = pareto([Option(3, 3, 1.0, "a"), Option(1, 1, 2.0, "b"), Option(5, 5, 4.0, "c"), Option(5, 5, 3.0, "d")])
    assert [o.recipe for o in front] == ["b", "c"]


def test_of_equal_cost_the_faster_option_wins() -> None:
    """Run-time price decides between options that cost and keep the same."""
    slow, fast = Option(10, 30, 1.0, "slow"), Option(10, 12, 1.0, "fast")
    assert allocate([[slow, fast]], 10)[0].recipe == "fast"
