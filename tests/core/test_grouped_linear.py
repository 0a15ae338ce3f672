"""The grouped map against its dense reference."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pgb_core.model.linear.grouped import GroupedLinear, cut_blocks

OUT, IN = 12, 10


def cut(weight: Tensor, bias: Tensor, rows: Tensor, cols: Tensor) -> GroupedLinear:
    """Blocks between neighbours that are whole."""
    return cut_blocks(weight, bias, rows, cols, torch.arange(OUT), torch.arange(IN))


def blocks(module: GroupedLinear, x: Tensor) -> Tensor:
    """The map as one batched product over groups, as the exported graph computes it."""
    groups, _, cols = module.weight.shape
    read = x if module.in_index is None else x.index_select(-1, module.in_index.flatten())
    packed = torch.einsum("...gc,grc->...gr", read.unflatten(-1, (groups, cols)), module.weight).flatten(-2)
    if module.out_index is not None:
        packed = torch.where(module.out_index >= 0, packed[..., module.out_index.clamp_min(0)], 0.0)
    return packed + module.bias


def case(seed: int, groups: int, rows: int, cols: int) -> tuple[GroupedLinear, Tensor, Tensor, Tensor, Tensor]:
    """A random map with its dense weight, bias, rows and columns."""
    g = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(OUT, IN, generator=g), torch.randn(OUT, generator=g)
    row_groups = torch.randperm(OUT, generator=g)[: groups * rows].view(groups, rows)
    col_groups = torch.stack([torch.randperm(IN, generator=g)[:cols] for _ in range(groups)])
    return cut(weight, bias, row_groups, col_groups), weight, bias, row_groups, col_groups


sizes = {
    "seed": st.integers(0, 2**16),
    "groups": st.integers(1, 3),
    "rows": st.integers(1, 4),
    "cols": st.integers(1, IN),
}


@given(**sizes)
@settings(max_examples=60, deadline=None)
def test_grouping_then_densifying_equals_masking(seed: int, groups: int, rows: int, cols: int) -> None:
    """to_dense(cut(W)) is W with everything outside the groups set to zero."""
    module, weight, _, row_groups, col_groups = case(seed, groups, rows, cols)
    mask = torch.zeros_like(weight)
    mask[row_groups.unsqueeze(2), col_groups.unsqueeze(1)] = 1
    torch.testing.assert_close(module.to_dense(), weight * mask)


@given(**sizes)
@settings(max_examples=60, deadline=None)
def test_fast_equals_reference_and_so_do_gradients(seed: int, groups: int, rows: int, cols: int) -> None:
    """The batched blocks, the module and the dense product agree, forward and backward."""
    module, _, bias, _, _ = case(seed, groups, rows, cols)
    x = torch.randn(2, 5, IN, requires_grad=True)
    reference = torch.nn.functional.linear(x, module.to_dense(), bias)
    wanted = torch.autograd.grad(reference.square().sum(), [x, module.weight])
    for y in (module(x), blocks(module, x)):
        torch.testing.assert_close(y, reference, rtol=1e-4, atol=1e-5)
        found = torch.autograd.grad(y.square().sum(), [x, module.weight])
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_one_group_of_everything_is_the_dense_map() -> None:
    """And it carries no index at all."""
    weight, bias = torch.randn(OUT, IN), torch.randn(OUT)
    module = cut(weight, bias, torch.arange(OUT).unsqueeze(0), torch.arange(IN).unsqueeze(0))
    assert module.in_index is None
    assert module.out_index is None
    x = torch.randn(3, IN)
    torch.testing.assert_close(module(x), torch.nn.functional.linear(x, weight, bias))


def test_the_identity_recovers_the_dense_weight() -> None:
    """A structured map shows its matrix by acting on the identity."""
    module, _, bias, _, _ = case(7, 3, 4, 6)
    torch.testing.assert_close((module(torch.eye(IN)) - bias).T, module.to_dense())
