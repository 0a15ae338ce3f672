"""PGB as published: one threshold, groups of every matrix, from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pgb_core.artifact import open_artifact
from pgb_core.inference.load import load
from pgb_core.methods.pgb_paper import choice
from pgb_core.pipeline import compress
from pgb_core.plan import ATTENTION, FEED_FORWARD, Grouping, Keep, Plan, Role, Site
from pgb_core.search import grouping, threshold
from tests.core.small import checkpoint, settings

HIDDEN, NEURONS, G_MAX = 48, 96, 6
SHAPES = dict.fromkeys(Role, (HIDDEN, HIDDEN)) | {Role.FFN_IN: (NEURONS, HIDDEN), Role.FFN_OUT: (HIDDEN, NEURONS)}


def importances(layers: int = 3) -> dict[Site, torch.Tensor]:
    """Heavy-tailed, of another size in every layer."""
    g = torch.Generator().manual_seed(0)
    return {
        Site(n, role): torch.randn(shape, generator=g).pow(4) * 3.0**n
        for n in range(layers)
        for role, shape in SHAPES.items()
    }


def test_groups_leave_room_for_what_is_important() -> None:
    """A matrix of whose weights a share p is above the threshold falls into 1 / p groups at most."""
    values = torch.zeros(12, 12)
    allowed = grouping.divisors(values, G_MAX)
    assert allowed == [1, 2, 3, 4, 6]
    assert grouping.divisors(values, 3) == [1, 2, 3]
    for share, count in ((1.0, 1), (0.6, 1), (0.5, 2), (0.3, 3), (0.25, 4), (0.2, 4), (1 / 6, 6), (0.15, 6), (0.13, 0)):
        flat = torch.zeros(144)
        flat[: round(share * 144)] = 1
        p = float(flat.mean())
        assert threshold.group_count(flat.view(12, 12), 0.5, allowed) == count, (share, p)


def test_no_more_groups_are_tried_than_a_matrix_has_rows() -> None:
    """However many may be: to count up to them would take days."""
    assert grouping.divisors(torch.zeros(12, 8), 10**15) == [1, 2, 4]


def test_a_higher_threshold_never_keeps_more() -> None:
    """So that it can be found by halving."""
    given = importances()
    costs = [threshold.cost_of(given, threshold.counts_at(given, 10.0**n, G_MAX)) for n in range(-6, 5)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == sum(values.numel() for values in given.values())
    assert costs[-1] == 0


def test_attention_goes_as_a_whole_and_feed_forward_with_either_matrix() -> None:
    """What is past the most groups has the most, while another matrix of the same attention stays."""
    given = importances(1)
    for role in Role:
        given[Site(0, role)] = torch.ones(SHAPES[role]) * (0.0 if role in (Role.QUERY, Role.FFN_IN) else 2.0)
    found = threshold.counts_at(given, 1.0, G_MAX)
    assert [found[Site(0, role)] for role in ATTENTION] == [G_MAX, 1, 1, 1]
    assert [found[Site(0, role)] for role in FEED_FORWARD] == [0, 0]
    for role in ATTENTION:
        given[Site(0, role)] = torch.zeros(SHAPES[role])
    assert not any(threshold.counts_at(given, 1.0, G_MAX).values())


@pytest.mark.parametrize("start", [1e-9, 1e-5, 1e3])
@pytest.mark.parametrize("keep", [0.8, 0.5, 0.2])
def test_the_threshold_is_the_lowest_within_the_budget(keep: float, start: float) -> None:
    """Wherever the search begins."""
    given = importances()
    budget = keep * sum(values.numel() for values in given.values())
    found = threshold.within(given, G_MAX, budget, start)
    assert threshold.cost_of(given, found.counts) <= budget
    assert threshold.cost_of(given, threshold.counts_at(given, found.tau * (1 - 1e-6), G_MAX)) > budget


def test_a_count_becomes_disjoint_blocks() -> None:
    """Equal ones; one is the matrix itself, none is nothing."""
    values = importances(1)[Site(0, Role.FFN_IN)]
    found = choice(values, 4, 6)
    assert isinstance(found, Grouping)
    assert found.cost == values.numel() // 4
    assert sorted(row for group in found.groups for row in group.rows) == list(range(NEURONS))
    assert sorted(col for group in found.groups for col in group.cols) == list(range(HIDDEN))
    assert isinstance(choice(values, 1, 6), Keep)
    assert choice(values, 0, 6).cost == 0


def test_an_artifact_of_it_answers(tmp_path: Path, texts: Path) -> None:
    """The plan has disjoint groups alone, and keeps at most what was asked."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    done = compress(settings(model, tmp_path / "out", texts, method="pgb-paper", keep=0.4))
    plan = Plan.from_json(open_artifact(done.path).plan.read_text())
    assert 0 < plan.cost <= 0.4 * plan.dense_cost
    with load(done.path) as served:
        assert served("the town sang")
