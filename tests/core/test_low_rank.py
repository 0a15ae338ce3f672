"""A linear map of two thin products: what a plan says of it, its module, and every graph of it."""

from __future__ import annotations

import pytest
import torch

from pgb_core.errors import PlanError
from pgb_core.export.forms import FORMS
from pgb_core.export.parity import check_graph
from pgb_core.export.ranges import observe
from pgb_core.model.linear import cut
from pgb_core.model.linear.lstsq import Moments
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import Plan, Role, Site
from pgb_core.plan.kinds import LowRank
from pgb_core.tasks.features import Features
from tests.conftest import TASKS, small_encoder
from tests.core.planned import dense_plan, hand_plan

OUT, IN, RANK = 12, 10, 3
EVERY = torch.arange(OUT), torch.arange(IN)


def low_rank_plan(plan: Plan) -> Plan:
    """The same, with two thin products wherever a matrix is dense in it."""
    whole = {
        site: LowRank(choice.shape, 20) if choice.key == "keep" else choice for site, choice in plan.choices.items()
    }
    return Plan(plan.checkpoint, plan.head_dim, whole)


def test_it_is_written_and_read_back_without_numbers() -> None:
    """And counts the weights of both matrices."""
    choice = LowRank((96, 384), 20)
    plan = Plan("x", 16, {Site(0, Role.FFN_OUT): choice})
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.cost == choice.cost == 20 * (96 + 384)


@pytest.mark.parametrize("rank", [0, 50, 96])
def test_a_rank_that_saves_nothing_is_refused(rank: int) -> None:
    """A pair of 50 x (96 + 96) is more than 96 x 96."""
    with pytest.raises(PlanError, match="saves no weights"):
        LowRank((96, 96), rank)


def test_no_matrix_of_that_rank_is_nearer() -> None:
    """The error is what the singular values left out say, and equal matrices give equal pairs."""
    weight, bias = torch.randn(OUT, IN), torch.randn(OUT)
    first, second = (cut(LowRank((OUT, IN), RANK), w, bias, *EVERY) for w in (weight, weight.clone()))
    left = torch.linalg.svdvals(weight)[RANK:].square().sum()
    error = (first.to_dense().detach() - weight).square().sum()
    assert float(error) == pytest.approx(float(left), rel=1e-4)
    torch.testing.assert_close(first.to_dense(), second.to_dense(), rtol=0, atol=0)


def test_it_computes_its_matrix_in_the_orders_of_its_neighbours() -> None:
    """Whatever orders these are."""
    weight, bias = torch.randn(OUT, IN), torch.randn(OUT)
    rows, cols = torch.randperm(OUT), torch.randperm(IN)
    straight, turned = (cut(LowRank((OUT, IN), RANK), weight, bias, *order) for order in (EVERY, (rows, cols)))
    x = torch.randn(4, IN)
    torch.testing.assert_close(turned(x[:, cols]), straight(x)[:, rows])
    torch.testing.assert_close(straight(x), x @ straight.to_dense().T + bias)


def test_refitting_never_raises_the_error() -> None:
    """Toward outputs that the map does not give."""
    weight, bias = torch.randn(OUT, IN), torch.randn(OUT)
    module = cut(LowRank((OUT, IN), RANK), weight, bias, *EVERY)
    x = torch.randn(200, IN) @ torch.randn(IN, IN)
    y = x @ weight.T + bias
    with torch.no_grad():
        before = float((module(x) - y).square().mean())
        module.refit(Moments.of(x, y), 1e-3)
        assert float((module(x) - y).square().mean()) < before


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("form", "tolerance"), [("fp32", 1e-4), ("gpu", 5e-3), ("int8", 0.1)])
@pytest.mark.parametrize("whole", [True, False])
def test_every_graph_gives_the_module_s_logits(task: str, form: str, tolerance: float, whole: bool) -> None:
    """With every map of two products, and with some beside groups, heads that are gone and dropped layers."""
    dense = small_encoder("bert", task)
    plan = low_rank_plan((dense_plan if whole else hand_plan)(dense))
    model = apply_plan(dense, plan).eval()
    assert sum(p.numel() for m in model.sites().values() for p in m.parameters() if p.dim() > 1) == plan.cost
    features = [Features(torch.randint(5, 400, (n,)).tolist(), [0] * n, None, n) for n in (3, 9, 21)]
    build = FORMS[form].build
    assert build is not None
    ranges = observe(model, [feature.tokens for feature in features])
    held = check_graph(model, build(model, ranges).SerializeToString(), features, tolerance)
    assert held.max_difference <= held.allowed
