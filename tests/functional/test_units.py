"""Laws of heads and neurons: what they cost, which stay, and what a plan makes of them."""

import pytest
import torch

from pgb_core.errors import PlanError
from pgb_core.methods.michel import rounds
from pgb_core.plan import Plan, Role, Site, flops
from pgb_core.search.units import Sizes, Units, by_layer, check_head_fits, choices, highest, without_lowest

SIZES = Sizes(layers=3, heads=6, neurons=96, hidden=48, head_dim=8)


def some(seed: int = 0) -> Units:
    """Random scores."""
    g = torch.Generator().manual_seed(seed)
    return Units(torch.rand(3, 6, generator=g), torch.rand(3, 96, generator=g))


@pytest.mark.parametrize("tokens", [0, 128])
def test_what_is_kept_costs_what_its_plan_does(tokens: int) -> None:
    """Weights, or operations at so many tokens; a layer without a head and one with all of its neurons included."""
    sizes = Sizes(3, 6, 96, 48, 8, tokens)
    kept = Units(some().heads > 0.6, some().neurons > 0.5)
    kept.heads[1] = False
    kept.neurons[2] = True
    plan = Plan("x", 8, choices(kept, sizes))
    found = sizes.cost(kept) / sizes.total
    if tokens:
        assert found == pytest.approx(flops(plan, tokens) / flops(plan, tokens, dense=True))
    else:
        assert found == pytest.approx(plan.cost / plan.dense_cost)
    for layer in range(3):
        one = plan.layer(layer)
        heads = kept.heads[layer].nonzero().flatten().tolist()
        assert list(one[Role.VALUE].rows) == [8 * head + channel for head in heads for channel in range(8)]
        assert one[Role.QUERY].rows == one[Role.KEY].rows == one[Role.VALUE].rows
        if heads:
            assert list(one[Role.ATTENTION_OUTPUT].cols) == list(one[Role.VALUE].rows)
        assert list(one[Role.FFN_OUT].cols) == list(one[Role.FFN_IN].rows)
    assert plan.choices[Site(1, Role.ATTENTION_OUTPUT)].cost == 0


@pytest.mark.parametrize("keep", [0.01, 0.13, 0.25, 0.5, 0.77, 0.95])
def test_rounds_end_at_the_share_that_is_asked_for(keep: float) -> None:
    """Within a neuron, with a tenth of each kind a round at most, and as large a share of the heads as of all."""
    found = rounds(SIZES, keep, neurons=True, share=0.1)
    heads, neurons = found[-1]
    assert 0 <= keep * SIZES.total - heads * SIZES.head - neurons * SIZES.neuron < SIZES.neuron
    assert abs(heads - keep * 18) <= 0.5
    before = (18, 288)
    for after in found:
        assert 0 <= before[0] - after[0] <= 2
        assert 0 <= before[1] - after[1] <= 29
        before = after


def test_heads_alone_come_down_to_the_neurons() -> None:
    """To the nearest head, and to one."""
    assert SIZES.without_heads == pytest.approx(1 / 2)
    assert rounds(SIZES, 0.8, neurons=False, share=0.1)[-1] == (11, 288)  # of 18 heads, each 1/36 of the weights
    assert rounds(SIZES, 0.3, neurons=False, share=1.0) == [(1, 288)]


def test_the_lowest_go_and_never_come_back() -> None:
    """Whatever their score is now."""
    scores = some().heads
    first = without_lowest(scores, torch.ones(3, 6, dtype=torch.bool), 10)
    assert int(first.sum()) == 10
    assert scores[first].min() > scores[~first].max()
    second = without_lowest(torch.where(first, scores, 9.0), first, 4)
    assert int(second.sum()) == 4
    assert not (second & ~first).any()


def test_the_highest_stay_within_the_budget() -> None:
    """What went would not have fitted beside what is higher; of equal ones as many stay in every layer."""
    scores = some(1)
    kept = highest(scores, SIZES, 0.4 * SIZES.total)
    assert SIZES.cost(kept) <= 0.4 * SIZES.total < SIZES.cost(kept) + SIZES.neuron
    lowest = min(float(scores.heads[kept.heads].min()), float(scores.neurons[kept.neurons].min()))
    assert float(scores.neurons[~kept.neurons].max()) <= lowest + 0.05
    same = highest(Units(torch.zeros(3, 6), torch.zeros(3, 96)), SIZES, 0.5 * SIZES.total)
    assert same.heads.sum(1).tolist() == [3, 3, 3]
    assert same.neurons.sum(1).tolist() == [48, 48, 48]


def test_the_best_head_stays_however_low_it_is() -> None:
    """Without a head no token sees another one."""
    scores = some(2)
    lowest = Units(scores.heads - 2, scores.neurons)
    kept = highest(lowest, SIZES, 0.3 * SIZES.total)
    assert kept.heads.nonzero().tolist() == [list(divmod(int(scores.heads.argmax()), 6))]
    assert SIZES.cost(kept) <= 0.3 * SIZES.total < SIZES.cost(kept) + SIZES.neuron


@pytest.mark.parametrize("hidden", [48, 50])
def test_the_share_that_an_error_names_is_enough_and_no_larger_than_it_must_be(hidden: int) -> None:
    """To three decimals."""
    sizes = Sizes(layers=3, heads=6, neurons=96, hidden=hidden, head_dim=8)
    with pytest.raises(PlanError) as error:
        check_head_fits(sizes, 0.0001)
    named = float(str(error.value).rpartition("--keep ")[2].partition(" ")[0])
    assert 0 <= named * sizes.total - sizes.head < 0.001 * sizes.total


def test_scores_of_a_layer_are_of_one_length() -> None:
    """A layer of which nothing is left has none."""
    scores = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert by_layer(scores).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
