"""A compact encoder in the coordinates of the dense one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pgb_core.errors import PlanError
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan, expanded
from pgb_core.plan import Plan, Role, Site
from tests.conftest import small_encoder
from tests.core.planned import dense_plan, hand_plan, nested_plan, patterned_plan, random_plan

PLANS: dict[str, Callable[[Encoder], Plan]] = {
    "hand": hand_plan,
    "hand nested": nested_plan,
    "shared": lambda model: random_plan(model, 0.3, "shared"),
    "disjoint": lambda model: random_plan(model, 0.3, "disjoint"),
}


def trained(model: Encoder) -> Encoder:
    """A model of which every parameter has changed, biases of what was dropped and norms too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("task", ["classification", "qa"])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "electra"])
@pytest.mark.parametrize("kind", PLANS)
@torch.no_grad()
def test_the_expanded_encoder_computes_the_same(kind: str, architecture: str, task: str) -> None:
    """Trained weights, padding, dropped sublayers and layers, an order of the stream; and it can be cut again."""
    dense = small_encoder(architecture, task)
    plan = PLANS[kind](dense)
    compact = trained(apply_plan(dense, plan)).eval()
    found = expanded(compact, plan).eval()
    ids = torch.randint(5, 400, (2, 13))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    wanted, got = compact(ids, mask), found(ids, mask)
    if task == "qa":  # what padding gives is of no use
        wanted, got = wanted[mask.bool()], got[mask.bool()]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    assert {site: linear.weight.shape for site, linear in found.sites().items()} == {
        site: linear.weight.shape for site, linear in dense.sites().items() if site.layer not in plan.dropped_layers
    }
    again = apply_plan(found, plan).state_dict()
    assert again.keys() == compact.state_dict().keys()
    for name, value in compact.state_dict().items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0)


def test_what_is_gone_cannot_be_kept_again_and_fixed_attention_has_no_dense_form() -> None:
    """Both are told."""
    dense = small_encoder("bert", "classification")
    plan = hand_plan(dense)
    assert plan.dropped_layers == (1,)
    found = expanded(apply_plan(dense, plan), plan)
    with pytest.raises(PlanError, match="keeps some of layer 1, and the model no longer has it"):
        apply_plan(found, dense_plan(dense))
    fixed = patterned_plan(dense)
    with pytest.raises(PlanError, match="fixed attention"):
        expanded(apply_plan(dense, fixed), fixed)


def test_pruned_weights_are_zero_at_their_dense_places() -> None:
    """By the plan alone."""
    dense = small_encoder("bert", "classification")
    plan = hand_plan(dense)
    found = expanded(apply_plan(dense, plan), plan)
    site = Site(0, Role.FFN_IN)
    keep = torch.zeros(plan.choices[site].shape, dtype=torch.bool)
    for group in plan.choices[site].groups:  # type: ignore[attr-defined]
        keep[torch.tensor(group.rows).unsqueeze(1), torch.tensor(group.cols)] = True
    weight = found.sites()[site].to_dense()
    assert torch.equal(weight[keep], dense.sites()[site].to_dense()[keep])
    assert not weight[~keep].any()
