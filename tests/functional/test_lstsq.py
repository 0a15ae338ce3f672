"""Laws of moments and the ridge solution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgb_core.model.linear.lstsq import Moments, gram, solve


def data(seed: int, tokens: int = 60, size: int = 7, out: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Correlated inputs, noisy targets, an old weight."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, size, generator=g) @ torch.randn(size, size, generator=g) + 1.0
    y = x @ torch.randn(size, out, generator=g) + 0.3 * torch.randn(tokens, out, generator=g)
    return x, y, torch.randn(out, size, generator=g)


def residual(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each output, in float64."""
    return (y.double() - x.double() @ weight.double().T - bias.double()).square().mean(0)


@given(seed=st.integers(0, 2**16), cut=st.integers(1, 59))
@settings(max_examples=30, deadline=None)
def test_merged_moments_equal_pooled_moments(seed: int, cut: int) -> None:
    """Adding the moments of two parts gives those of the whole."""
    x, y, _ = data(seed)
    merged, pooled = Moments.of(x[:cut], y[:cut]), Moments.of(x, y)
    merged += Moments.of(x[cut:], y[cut:])
    assert merged.count == pooled.count
    for name in ("xx", "xy", "x", "y"):
        torch.testing.assert_close(getattr(merged, name), getattr(pooled, name), rtol=1e-4, atol=1e-3)


@given(seed=st.integers(0, 2**16), ridge=st.sampled_from([0.0, 1e-4, 1e-2, 1.0, 100.0]))
@settings(max_examples=40, deadline=None)
def test_ridge_never_raises_the_calibration_residual(seed: int, ridge: float) -> None:
    """Against the old weights with their best bias, at any strength."""
    x, y, old = data(seed)
    moments = Moments.of(x.double(), y.double())
    weight, bias, _ = solve(moments, old.double(), ridge)
    best_bias = (moments.y - old.double() @ moments.x) / moments.count
    before = residual(x, y, old, best_bias)
    after = residual(x, y, weight, bias)
    assert (after <= before * (1 + 1e-8) + 1e-10).all()


def test_without_ridge_it_is_ordinary_least_squares() -> None:
    """Compared with a direct solve on centred data with an intercept."""
    x, y, old = data(2)
    weight, bias, _ = solve(Moments.of(x, y), old, 0.0)
    design = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    direct = torch.linalg.lstsq(design, y).solution
    torch.testing.assert_close(weight, direct[:-1].T, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(bias, direct[-1], rtol=1e-2, atol=2e-2)


def test_selected_moments_are_moments_of_the_selection() -> None:
    """Restricting moments equals restricting the data."""
    x, y, _ = data(3)
    inputs, outputs = torch.tensor([5, 0, 2]), torch.tensor([3, 1])
    selected = Moments.of(x, y).select(inputs, outputs)
    direct = Moments.of(x[:, inputs], y[:, outputs])
    for name in ("xx", "xy", "x", "y"):
        torch.testing.assert_close(getattr(selected, name), getattr(direct, name), rtol=1e-4, atol=1e-3)


def test_mapped_moments_are_moments_of_the_mapped() -> None:
    """A linear map of the targets may be applied after they are summed."""
    x, y, _ = data(5)
    weight, bias = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    mapped = Moments.of(x.double(), y.double()).mapped(weight, bias)
    direct = Moments.of(x.double(), y.double() @ weight.T + bias)
    for name in ("xx", "xy", "x", "y"):
        torch.testing.assert_close(getattr(mapped, name), getattr(direct, name))


def test_moments_of_a_tensor_with_itself_add_up() -> None:
    """Inputs and targets may be one tensor."""
    x, _, _ = data(6)
    pooled = Moments.of(x[:20], x[:20])
    pooled += Moments.of(x[20:], x[20:])
    whole = Moments.of(x, x.clone())
    assert pooled.count == whole.count
    for name in ("xx", "xy", "x", "y"):
        torch.testing.assert_close(getattr(pooled, name), getattr(whole, name), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_gram_is_the_product(size: int) -> None:
    """Whether or not the blocks divide the size."""
    x = torch.randn(9, size, dtype=torch.float64)
    torch.testing.assert_close(gram(x), x.T @ x)


def test_strong_ridge_stays_at_the_old_weights() -> None:
    """In the limit nothing moves but the bias."""
    x, y, old = data(4)
    weight, *_ = solve(Moments.of(x, y), old, 1e9)
    assert weight.tolist() == [pytest.approx(row, abs=1e-4) for row in old.tolist()]
