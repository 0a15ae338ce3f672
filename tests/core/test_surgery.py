"""The compact encoder against the dense one with masked weights."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pgb_core.errors import PlanError
from pgb_core.model.blocks import Attention, FeedForward
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan, ordered, reordered
from pgb_core.plan import WRITING, Group, Grouping, Keep, Plan, Role, Site
from tests.conftest import ARCHITECTURES, CORE_ARCHITECTURES, TASKS, small_encoder
from tests.core.planned import dense_plan, hand_plan, nested_plan, random_plan

HAND = {"hand": hand_plan, "hand nested": nested_plan}


def masked(model: Encoder, plan: Plan) -> Encoder:
    """The reference: the dense encoder with pruned weights set to zero, by the definitions alone.

    A query or key channel in no group is zero; a value channel or neuron that is gone is read by
    nobody; a layer of which nothing is left is skipped.
    """
    found = copy.deepcopy(model)
    for site, linear in found.sites().items():
        choice = plan.choices[site]
        assert isinstance(linear, nn.Linear)
        if isinstance(choice, Keep):
            continue
        keep = torch.zeros_like(linear.weight)
        rows, cols = (torch.arange(size) for size in choice.shape)
        if plan.stream is not None and site.role in WRITING:
            rows = torch.tensor(plan.stream)
        elif plan.stream is not None:
            cols = torch.tensor(plan.stream)
        for group in choice.groups:
            keep[rows[list(group.rows)].unsqueeze(1), cols[list(group.cols)]] = 1
        with torch.no_grad():
            linear.weight.mul_(keep)
            if site.role in (Role.QUERY, Role.KEY):
                linear.bias.mul_(keep.any(1))
    found.layers = nn.ModuleList(layer for layer in found.layers if layer.index not in plan.dropped_layers)
    return found


def inputs() -> tuple[Tensor, Tensor]:
    """Two inputs, one padded."""
    ids = torch.randint(5, 400, (2, 13))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return ids, mask


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", CORE_ARCHITECTURES)
@pytest.mark.parametrize("kind", ["hand", "hand nested", "shared", "disjoint", "nested"])
@torch.no_grad()
def test_the_compact_encoder_equals_the_masked_one(architecture: str, task: str, kind: str) -> None:
    """Leaving things out gives what setting them to zero gives."""
    model = small_encoder(architecture, task)
    plan = HAND[kind](model) if kind in HAND else random_plan(model, 0.3, kind)
    ids, mask = inputs()
    ids[1, 6:] = model.config.pad_id
    wanted, found = masked(model, plan)(ids, mask), apply_plan(model, plan)(ids, mask)
    if task == "qa":
        wanted, found = wanted[mask.bool()], found[mask.bool()]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_nothing_pruned_is_left_in_the_modules() -> None:
    """The compact encoder holds exactly the plan's weights, and fewer layers."""
    model = small_encoder("bert", "qa")
    plan = hand_plan(model)
    compact = apply_plan(model, plan)
    assert sum(linear.weight.numel() for linear in compact.sites().values()) == plan.cost
    assert [layer.index for layer in compact.layers] == [0, 2, 3]
    attention = compact.layers[0].attention
    assert isinstance(attention, Attention)
    assert (attention.heads, attention.query.out_features, attention.value.out_features) == (4, 32, 48)
    assert not isinstance(compact.layers[1].feed_forward, FeedForward)


@torch.no_grad()
def test_a_model_rebuilt_from_its_plan_and_weights_is_the_same() -> None:
    """Plan as JSON plus the compact state give the same logits."""
    model = small_encoder("roberta", "classification")
    plan = random_plan(model, 0.4, "shared")
    compact = apply_plan(model, plan)
    for parameter in compact.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))
    again = apply_plan(small_encoder("roberta", "classification", seed=9), Plan.from_json(plan.to_json()))
    again.load_state_dict(compact.state_dict())
    ids, mask = inputs()
    assert torch.equal(again(ids, mask), compact(ids, mask))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_the_order_of_the_stream_changes_no_logit(architecture: str, task: str) -> None:
    """Nor any hidden state but for its order, whatever is before the layers and behind them."""
    model = small_encoder(architecture, task)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))  # norms too, which begin as all ones
    order = torch.randperm(96)
    found = reordered(model, order.tolist())
    ids, mask = inputs()
    assert (found(ids, mask) - model(ids, mask)).abs().max() < 1e-5
    states: list[list[Tensor]] = [[], []]
    for encoder, seen in zip((model, found), states, strict=True):
        encoder.from_embeddings(encoder.embeddings(ids, None), mask, lambda _, x, seen=seen: seen.append(x))
    for before, after in zip(*states, strict=True):
        torch.testing.assert_close(after, before[..., order], rtol=1e-4, atol=1e-4)


def test_without_a_stream_the_model_keeps_its_order() -> None:
    """And is not copied."""
    model = small_encoder("bert", "qa")
    assert ordered(model, hand_plan(model)) is model
    assert ordered(model, nested_plan(model)) is not model


def test_what_reads_the_first_channels_slices() -> None:
    """As many as its matrix has columns, and gives what the equal dense map gives."""
    model = small_encoder("bert", "qa")
    query = apply_plan(model, nested_plan(model)).layers[0].maps()[Role.QUERY]
    assert query.chain().products[0].prefix == 32
    assert query.chain().products[0].blocks.shape == (1, 24, 32)
    x = torch.randn(2, 5, 96)
    torch.testing.assert_close(query(x), torch.nn.functional.linear(x, query.to_dense(), query.bias))
    assert not query.to_dense()[:, 32:].any()


@pytest.mark.parametrize("kind", HAND)
def test_the_dense_model_is_left_as_it_was(kind: str) -> None:
    """Surgery copies."""
    model = small_encoder("bert", "qa")
    before = copy.deepcopy(model.state_dict())
    compact = apply_plan(model, HAND[kind](model))
    with torch.no_grad():
        for parameter in compact.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("role", "rows", "reason"),
    [
        (Role.KEY, range(16, 32), "keeps other channels than the query"),
        (Role.VALUE, range(80), "reads an output that value no longer has"),
        (Role.FFN_IN, range(80), "reads an output that ffn_in no longer has"),
    ],
)
def test_plans_that_do_not_couple_are_refused(role: Role, rows: range, reason: str) -> None:
    """What is multiplied or read must be there on both sides."""
    model = small_encoder("bert", "qa")
    choices = {
        Site(n, r): Keep((linear.out_features, linear.in_features))
        for (n, r), linear in (((s.layer, s.role), m) for s, m in model.sites().items())
    }
    shape = choices[Site(1, role)].shape
    choices[Site(1, role)] = Grouping((Group(tuple(rows), tuple(range(96))),), shape)
    with pytest.raises(PlanError, match=reason):
        apply_plan(model, Plan("test", 16, choices))


def test_plans_for_another_model_are_refused() -> None:
    """A map that the plan has not, or in another size; a layer more; heads of different sizes."""
    model = small_encoder("bert", "qa")
    choices = dict(dense_plan(model).choices)
    half = Grouping((Group(tuple(range(24)), tuple(range(96))),), (96, 96))
    for changes, reason in (
        ({Site(3, Role.FFN_OUT): None}, "3.ffn_out: the plan does not say what becomes of it"),
        ({Site(0, Role.FFN_IN): Keep((385, 96))}, "0.ffn_in: the plan is for 385x96, the model has 384x96"),
        ({Site(4, role): choices[Site(3, role)] for role in Role}, "the plan has 5 layers, the model 4"),
        ({Site(1, Role.QUERY): half, Site(1, Role.KEY): half}, "1.query: heads keep different numbers of channels"),
    ):
        given = {site: choice for site, choice in (choices | changes).items() if choice is not None}
        with pytest.raises(PlanError, match=reason):
            apply_plan(model, Plan("test", 16, given))
