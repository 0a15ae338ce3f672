"""Masks in training: their schedule, what they do to a pass, and gradual pruning by size."""

from __future__ import annotations

import pytest
import torch

from pgb_core.learn.gradual import Gradual
from pgb_core.learn.masking import cubic
from pgb_core.learn.regime import Step
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import Plan, Role, Site
from pgb_core.search.singles import largest, largest_of_each
from pgb_core.search.units import Units, choices, edge, leading, masks, mean_squares, ranks
from tests.conftest import small_encoder
from tests.core.trained import assert_resumed_the_same

IDS = torch.arange(5, 25).view(2, 10)


def test_the_share_falls_as_a_cubic_between_two_plateaus() -> None:
    """All at first, what was asked for at last, and an eighth of the way left in the middle."""
    assert [cubic(done, 0.2) for done in (0, 0.1, 0.8, 1)] == pytest.approx([1, 1, 0.2, 0.2])
    assert cubic(0.45, 0.2) == pytest.approx(0.2 + 0.8 / 8)
    shares = [cubic(n / 50, 0.2) for n in range(51)]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("keep", [0.25, 0.6])
@torch.no_grad()
def test_masks_of_units_give_the_logits_of_the_model_without_them(keep: float) -> None:
    """The columns that are masked are those of the units that the plan leaves out."""
    model = small_encoder("bert", "classification", num_hidden_layers=2)
    weights = {site: linear.to_dense() for site, linear in model.sites().items()}
    sizes = model.config.sizes()
    scores, budget = ranks(mean_squares(weights, sizes.head_dim)), keep * sizes.total
    kept, least = leading(scores, sizes, budget), edge(scores, sizes, budget)
    assert torch.equal(kept.flat(), scores.flat() > least)
    assert 0 <= keep - sizes.share(kept) < 0.02
    assert sizes.total == sum(w.numel() for w in weights.values())
    compact = apply_plan(model, Plan("test", sizes.head_dim, choices(kept, sizes)))
    before = model(IDS)
    for site, mask in masks(kept, sizes.head_dim).items():
        model.sites()[site].get_parameter("weight").mul_(mask)
    torch.testing.assert_close(model(IDS), compact(IDS), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, compact(IDS), atol=1e-3)


def test_ranks_are_shares_of_a_kind() -> None:
    """Whatever the scale of the values; so both kinds keep the same share."""
    found = ranks(Units(torch.tensor([[3.0, 1.0], [2.0, 4.0]]), torch.arange(10.0).view(2, 5)))
    assert found.heads.tolist() == [[0.625, 0.125], [0.375, 0.875]]
    assert found.neurons.flatten().tolist() == pytest.approx([n / 10 + 0.05 for n in range(10)])


def test_of_each_matrix_or_of_all() -> None:
    """A matrix of large values keeps more where all compete; of equal values the first stay."""
    given = {Site(0, Role.QUERY): torch.ones(4, 5), Site(0, Role.KEY): 2 * torch.ones(4, 5)}
    both = {site: int(mask.sum()) for site, mask in largest(given, 0.75).items()}
    assert list(both.values()) == [10, 20]
    assert [int(mask.sum()) for mask in largest_of_each(given, 0.75).values()] == [15, 15]
    assert largest(given, 0.75)[Site(0, Role.QUERY)].flatten().tolist() == [True] * 10 + [False] * 10


@pytest.mark.parametrize("whole", [True, False])
def test_a_pass_sees_masked_weights_and_leaves_them_whole(whole: bool) -> None:
    """Gradients of what is masked are 0; masks are what is largest at that step."""
    model = small_encoder("bert", "classification")
    regime = Gradual(model, whole, 0.3, 0)
    before = {site: linear.to_dense().detach().clone() for site, linear in model.sites().items()}
    step = Step(9, 10, 0, 1e-3)
    masks = regime.masks(step)
    with regime.applied(step):
        for site, mask in masks.items():
            assert torch.equal(model.sites()[site].to_dense(), before[site] * mask)
        model(IDS).square().sum().backward()
    regime.graded(step)
    assert any(bool(linear.get_parameter("weight").grad.any()) for linear in model.sites().values())
    for site, linear in model.sites().items():
        assert torch.equal(linear.to_dense(), before[site])
        grad = linear.get_parameter("weight").grad
        assert grad is not None
        if site in masks:
            assert not (grad * (1 - masks[site].float())).any()
    wanted = 0.3 * sum(weight.numel() for weight in before.values())
    if not whole:
        assert sum(int(mask.sum()) for mask in masks.values()) == int(wanted)
        gone = max(float((before[site].abs() * ~mask).max()) for site, mask in masks.items())
        assert all(bool((before[site][mask].abs() >= gone).all()) for site, mask in masks.items())


@pytest.mark.parametrize("whole", [True, False])
def test_gradual_pruning_is_resumed(whole: bool) -> None:
    """It keeps nothing of its own: masks follow from the weights."""
    assert_resumed_the_same(lambda model: Gradual(model, whole, 0.3, 0))
