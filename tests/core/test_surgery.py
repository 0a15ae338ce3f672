"""The compact encoder against the dense one with masked weights."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pgb_core.errors import PlanError
from pgb_core.model.blocks import Attention, FeedForward
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import Group, Grouping, Keep, Plan, Role, Site
from tests.conftest import CORE_ARCHITECTURES, TASKS, small_encoder
from tests.core.planned import hand_plan, random_plan


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
        for group in choice.groups:
            keep[torch.tensor(group.rows).unsqueeze(1), torch.tensor(group.cols)] = 1
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
@pytest.mark.parametrize("kind", ["hand", "shared", "disjoint"])
@torch.no_grad()
def test_the_compact_encoder_equals_the_masked_one(architecture: str, task: str, kind: str) -> None:
    """Leaving things out gives what setting them to zero gives."""
    model = small_encoder(architecture, task)
    plan = hand_plan(model) if kind == "hand" else random_plan(model, 0.3, kind)
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


def test_the_dense_model_is_left_as_it_was() -> None:
    """Surgery copies."""
    model = small_encoder("bert", "qa")
    before = copy.deepcopy(model.state_dict())
    compact = apply_plan(model, hand_plan(model))
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
