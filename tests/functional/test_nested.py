"""One order of the residual stream, of which every map reads the first channels."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pgb_core.plan import ATTENTION, FEED_FORWARD, WRITING, Plan, Role, Site
from pgb_core.prices import table_of
from pgb_core.search import nested, planning
from pgb_core.search.budget import pareto
from pgb_core.search.menus import Menu
from pgb_core.search.prices import Prices
from tests.functional.test_menus import HEAD_DIM, HIDDEN, NEURONS, importances

PRICES = replace(table_of("fp32").prices, gathered_row=0.0)  # so that narrow prefixes stay on the menus
SEARCH = planning.Search(PRICES, "nested")
READING = [role for role in Role if role not in WRITING]


def in_order(scores: dict[Site, Tensor], order: Tensor) -> dict[Site, Tensor]:
    """All matrices in an order of the stream."""
    return {site: nested.in_order(values, site.role, order) for site, values in scores.items()}


def searched(seed: int) -> tuple[planning.Menus, dict[Site, Tensor]]:
    """Menus, and the importances in their order of the stream."""
    scores = importances(seed, layers=2)
    found = planning.make_menus(scores, HEAD_DIM, SEARCH)
    return found, in_order(scores, torch.tensor(found.stream))


def test_the_order_is_by_what_all_maps_that_read_find_important() -> None:
    """What is written counts for nothing, and equals keep their order."""
    scores = {Site(layer, role): torch.ones(4, 4) for layer in range(2) for role in Role}
    scores[Site(0, Role.KEY)][:, 2] += 1
    scores[Site(1, Role.FFN_IN)][:, 3] += 2
    for role in WRITING:
        scores[Site(0, role)][1] += 100
    assert nested.stream_order(scores).tolist() == [3, 2, 0, 1]


@given(seed=st.integers(0, 99), count=st.integers(1, HIDDEN - 1))
@settings(max_examples=20)
def test_no_order_keeps_more_where_all_read_as_many(seed: int, count: int) -> None:
    """In the sum over the model."""
    scores = importances(seed, layers=2)
    other = torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(seed))
    kept = [
        sum(float(values[:, :count].sum()) for site, values in in_order(scores, order).items() if site.role in READING)
        for order in (nested.stream_order(scores), other)
    ]
    assert kept[0] >= kept[1]


def test_only_the_stream_s_side_of_a_matrix_is_in_its_order() -> None:
    """Columns of a map that reads it, rows of one that writes to it."""
    values, order = torch.arange(6).view(2, 3), torch.tensor([1, 0])
    assert torch.equal(nested.in_order(values, Role.FFN_OUT, order), values[order])
    assert torch.equal(nested.in_order(values.T, Role.FFN_IN, order), values.T[:, order])


@pytest.mark.parametrize(("hidden", "step"), [(768, 64), (512, 64), (384, 32), (96, 32), (20, 20)])
def test_prefixes_end_where_kernels_like_it(hidden: int, step: int) -> None:
    """And at the whole."""
    found = nested.prefixes(hidden)
    assert found[-1] == hidden
    assert found == sorted(set(found))
    assert all(count % step == 0 for count in found)


def coupled(plan: Plan) -> None:
    """Prefixes are read, everything is written, and what is gone is gone on both sides."""
    for layer in range(plan.layers):
        choices = {role: choice for role, choice in plan.layer(layer).items() if choice.cost}
        for role, choice in choices.items():
            assert choice.described[0] == 1
            wanted = range(choice.shape[0] if role in WRITING else len(choice.cols))
            assert list(choice.rows if role in WRITING else choice.cols) == list(wanted)
        if Role.QUERY in choices:
            assert len({tuple(choices[role].cols) for role in ATTENTION[:3]}) == 1
            assert tuple(choices[Role.ATTENTION_OUTPUT].cols) == tuple(choices[Role.VALUE].rows)
        if Role.FFN_IN in choices:
            assert tuple(choices[Role.FFN_OUT].cols) == tuple(choices[Role.FFN_IN].rows)


@pytest.mark.parametrize("budget", ["weights", "flops"])
@pytest.mark.parametrize("keep", [0.7, 0.4, 0.15])
def test_plans_read_prefixes_and_write_everything(keep: float, budget: str) -> None:
    """In one group a matrix."""
    plan = planning.choose(planning.make_menus(importances(0), HEAD_DIM, SEARCH), keep, "test", HEAD_DIM, budget)
    coupled(plan)
    assert sorted(plan.stream or ()) == list(range(HIDDEN))
    assert plan.stream != tuple(range(HIDDEN))
    assert Plan.from_json(plan.to_json()) == plan


def kept_by(menu: Menu, scores: dict[Role, Tensor]) -> list[float]:
    """The importance that each option's blocks hold."""
    return [
        sum(float(scores[role][d.rows.unsqueeze(2), d.cols.unsqueeze(1)].sum()) for role, d in option.recipe.items())
        for option in menu
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_options_keep_what_their_blocks_hold(seed: int) -> None:
    """Of either sublayer, with their cost; more is kept for a higher price."""
    found, scores = searched(seed)
    for (layer, menu), roles in zip(found.sublayers, (ATTENTION, FEED_FORWARD) * 2, strict=True):
        matrices = {role: scores[Site(layer, role)] for role in roles}
        assert [option.kept for option in menu] == pytest.approx(kept_by(menu, matrices), rel=1e-9)
        assert [o.cost for o in menu] == [sum(draft.cost for draft in o.recipe.values()) for o in menu]
        read = {option.recipe[role].cols.shape[1] for option in menu[1:] for role in roles if role in READING}
        assert read == {32, 64, 96}
        assert (menu[0].cost, menu[-1].cost) == (0, sum(values.numel() for values in matrices.values()))
        assert [o.price for o in menu] == sorted(o.price for o in menu)
        assert [o.kept for o in menu] == sorted(o.kept for o in menu)


def test_auto_has_the_best_options_of_both_structures_in_one_order_of_the_stream() -> None:
    """Some of each."""
    scores = importances(0, layers=1)
    search = planning.Search(table_of("fp32").prices, "auto", passes=1)
    auto, prefixes = (
        planning.make_menus(scores, HEAD_DIM, one) for one in (search, replace(search, structure="nested"))
    )
    assert auto.stream == prefixes.stream
    turned = in_order(scores, torch.tensor(auto.stream))
    shared = planning.make_menus(turned, HEAD_DIM, replace(search, structure="shared"))
    from_each = [0, 0]
    for (_, menu), *parts in zip(auto.sublayers, prefixes.sublayers, shared.sublayers, strict=True):
        assert worth(menu) == worth(pareto([option for _, part in parts for option in part]))
        for n, (_, part) in enumerate(parts):
            from_each[n] += len(set(worth(menu)) & set(worth(part[1:-1])))
    assert min(from_each) > 0


def worth(menu: Menu) -> list[tuple[float, float]]:
    """Price and importance of each option."""
    return [(option.price, option.kept) for option in menu]


def test_an_option_has_the_price_of_all_that_runs() -> None:
    """Maps without a gather, the products between tokens or the neurons, and the sublayer itself."""
    prices = Prices(128, 37.0, 6000.0, 400.0, 80.0, 65.0, sliced_row=3.0, read=5.0, neuron=7.0, mixed=2.0)
    scores = importances(0, layers=1)
    menus = [menu for _, menu in planning.make_menus(scores, HEAD_DIM, replace(SEARCH, prices=prices)).sublayers]
    seen = 0
    for option in (option for menu in menus for option in menu[1:]):
        drafts = option.recipe
        blocks = {role: (draft.rows.numel(), draft.cols.shape[1]) for role, draft in drafts.items()}
        maps = [
            prices.of_blocks(1, *size, 0) if role in WRITING else prices.of_prefix(*size, HIDDEN)
            for role, size in blocks.items()
        ]
        if Role.FFN_IN in drafts:
            rest = prices.of_sublayer(HIDDEN, False) + prices.of_neurons(blocks[Role.FFN_IN][0])
        elif blocks[Role.QUERY] == blocks[Role.VALUE]:
            heads = len(set((drafts[Role.VALUE].rows // HEAD_DIM).flatten().tolist()))
            rest = prices.of_sublayer(HIDDEN, True) + prices.of_attention(heads, 2 * blocks[Role.VALUE][0] // heads)
        else:
            continue
        assert option.price == pytest.approx(sum(maps) + rest, rel=1e-12)
        seen += Role.QUERY in drafts
    assert seen


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_no_neurons_keep_more_over_the_same_prefix(seed: int) -> None:
    """As many others, drawn at random."""
    found, scores = searched(seed)
    inner, outer = (scores[Site(0, role)] for role in FEED_FORWARD)
    g = torch.Generator().manual_seed(seed)
    for option in found.sublayers[1][1][1:]:
        draft = option.recipe[Role.FFN_IN]
        count, others = draft.cols.shape[1], torch.randperm(NEURONS, generator=g)[: draft.rows.numel()]
        assert option.kept >= (1 - 1e-9) * float(inner[others, :count].sum() + outer[:, others].sum())


def test_a_shorter_prefix_has_the_price_of_its_slice() -> None:
    """The whole stream is read where it lies."""
    prices = table_of("fp32").prices
    assert prices.of_prefix(8, 96, 96) == prices.of_blocks(1, 8, 96, 0)
    assert prices.of_prefix(8, 64, 96) == prices.of_blocks(1, 8, 64, 0) + 64 * prices.sliced_row
