"""A linear map some of whose weights are gone: what a plan says of it, its module, and every graph of it."""

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
from pgb_core.plan import Plan, Role, Site, flops
from pgb_core.plan.kinds import Masked
from pgb_core.search.singles import packed
from pgb_core.tasks.features import Features
from tests.conftest import TASKS, small_encoder
from tests.core.planned import dense_plan

OUT, IN = 12, 10


def masks(shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """About half of a matrix."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5).float()


def test_it_is_written_and_read_back() -> None:
    """And counts the weights that are kept, also where a row does not fill its last byte."""
    mask = masks((OUT, IN))
    choice = Masked((OUT, IN), packed(mask))
    plan = Plan("x", 4, {Site(0, Role.QUERY): choice})
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.cost == int(mask.sum())


@pytest.mark.parametrize(
    ("bits", "reason"), [(b"\0" * 23, "23 bytes where 24 are needed"), (b"\0\x3f" * 12, "beyond the end of a row")]
)
def test_bits_that_do_not_fit_are_refused(bits: bytes, reason: str) -> None:
    """Too few of them, or some that stand for no weight."""
    with pytest.raises(PlanError, match=reason):
        Masked((OUT, IN), bits)


def test_a_picture_shows_the_share_of_each_cell() -> None:
    """In cells of two by five weights."""
    mask = masks((OUT, IN))
    wanted = mask.view(6, 2, 2, 5).mean(dim=(1, 3))
    torch.testing.assert_close(torch.tensor(Masked((OUT, IN), packed(mask)).density(6, 2)), wanted)


def test_it_computes_the_masked_matrix_in_the_orders_of_its_neighbours() -> None:
    """And no step of training brings a weight back."""
    weight, bias, mask = torch.randn(OUT, IN), torch.randn(OUT), masks((OUT, IN))
    rows, cols = torch.randperm(OUT), torch.randperm(IN)
    module = cut(Masked((OUT, IN), packed(mask)), weight, bias, rows, cols)
    x = torch.randn(4, IN)
    torch.testing.assert_close(module(x[:, cols]), (x @ (weight * mask).T + bias)[:, rows])
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    module(x).square().sum().backward()
    optimizer.step()
    assert (module.to_dense() != 0).sum() == mask.sum()


def test_refitting_never_raises_the_error() -> None:
    """Toward the outputs of the whole matrix; an output without weights gets its mean."""
    weight, bias, mask = torch.randn(OUT, IN), torch.randn(OUT), masks((OUT, IN))
    mask[3] = 0
    module = cut(Masked((OUT, IN), packed(mask)), weight, bias, torch.arange(OUT), torch.arange(IN))
    x = 1 + torch.randn(200, IN) @ torch.randn(IN, IN)
    y = x @ weight.T + bias
    with torch.no_grad():
        before = (module(x) - y).square().mean(0)
        module.refit(Moments.of(x, y), 1e-3)
        after = (module(x) - y).square().mean(0)
        assert (after <= before * (1 + 1e-4)).all()
        torch.testing.assert_close(module.bias[3], y[:, 3].mean())


def test_refitting_leaves_weights_whose_output_does_not_vary() -> None:
    """A factor would be a ratio of rounding errors. The bias still gives the mean."""
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    module = cut(Masked((2, 2), packed(mask)), torch.ones(2, 2), torch.zeros(2), torch.arange(2), torch.arange(2))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4000, 2, generator=generator), torch.randn(4000, 2, generator=generator)
    x[:, 0] = 0.3 + 1e-4 * x[:, 0]
    with torch.no_grad():
        module.refit(Moments.of(x, y), 1e-2)
        assert module.to_dense()[0, 0] == 1
        assert module.to_dense()[1, 1] != 1
        torch.testing.assert_close(module(x).mean(0), y.mean(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("form", "tolerance"), [("fp32", 1e-4), ("gpu", 5e-3), ("int8", 0.1)])
def test_every_graph_gives_the_module_s_logits(task: str, form: str, tolerance: float) -> None:
    """With half of every matrix gone."""
    dense = small_encoder("bert", task)
    whole = dense_plan(dense)
    choices = {site: Masked(c.shape, packed(masks(c.shape, n))) for n, (site, c) in enumerate(whole.choices.items())}
    model = apply_plan(dense, Plan("x", whole.head_dim, choices)).eval()
    features = [Features(torch.randint(5, 400, (n,)).tolist(), [0] * n, None, n) for n in (3, 9, 21)]
    build = FORMS[form].build
    assert build is not None
    ranges = observe(model, [feature.tokens for feature in features])
    held = check_graph(model, build(model, ranges).SerializeToString(), features, tolerance)
    assert held.max_difference <= held.allowed
    assert not any("mask" in name for name in model.state_dict())  # the plan has it


def test_zeros_are_computed_too() -> None:
    """A plan counts their products, and a merged map is one block."""
    mask = masks((OUT, IN))
    choice = Masked((OUT, IN), packed(mask))
    plan = Plan("x", 4, {Site(0, role): choice for role in Role})
    assert flops(plan, 8) == flops(plan, 8, dense=True)
    module = cut(choice, torch.randn(OUT, IN), torch.randn(OUT), torch.arange(OUT), torch.arange(IN))
    x = torch.randn(3, IN)
    torch.testing.assert_close(module.merged()(x), module(x))
    assert not module.merged().chain().gathers
