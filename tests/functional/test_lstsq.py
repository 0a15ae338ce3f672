"""Laws of moments and the ridge solution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgb_core.functional.lstsq import Moments, residual, solve


def data(seed: int, tokens: int = 60, size: int = 7, out: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Correlated inputs, noisy targets, an old weight."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, size, generator=g) @ torch.randn(size, size, generator=g) + 1.0
    y = x @ torch.randn(size, out, generator=g) + 0.3 * torch.randn(tokens, out, generator=g)
    return x, y, torch.randn(out, size, generator=g)


@given(seed=st.integers(0, 2**16), cut=st.integers(1, 59))
@settings(max_examples=30, deadline=None)
def test_merged_moments_equal_pooled_moments(seed: int, cut: int) -> None:
    """Adding the moments of two parts gives those of the whole."""
    x, y, _ = data(seed)
    merged, pooled = Moments.of(x[:cut], y[:cut]) + Moments.of(x[cut:], y[cut:]), Moments.of(x, y)
    assert merged.count == pooled.count
    for name in ("xx", "xy", "x", "y", "yy"):
        torch.testing.assert_close(getattr(merged, name), getattr(pooled, name), rtol=1e-4, atol=1e-3)


@given(seed=st.integers(0, 2**16), ridge=st.sampled_from([0.0, 1e-4, 1e-2, 1.0, 100.0]))
@settings(max_examples=40, deadline=None)
def test_ridge_never_raises_the_calibration_residual(seed: int, ridge: float) -> None:
    """Against the old weights with their best bias, at any strength."""
    x, y, old = data(seed)
    moments = Moments.of(x.double(), y.double())
    weight, bias = solve(moments, old.double(), ridge)
    best_bias = (moments.y - old.double() @ moments.x) / moments.count
    before = residual(moments, old.double(), best_bias)
    after = residual(moments, weight, bias)
    assert (after <= before * (1 + 1e-8) + 1e-10).all()


def test_residual_from_moments_equals_residual_from_data() -> None:
    """The streamed figure is the mean squared error."""
    x, y, old = data(1)
    bias = torch.randn(4)
    direct = (y - x @ old.T - bias).square().mean(0)
    torch.testing.assert_close(residual(Moments.of(x, y), old, bias).float(), direct, rtol=1e-3, atol=1e-3)


def test_without_ridge_it_is_ordinary_least_squares() -> None:
    """Compared with a direct solve on centred data with an intercept."""
    x, y, old = data(2)
    weight, bias = solve(Moments.of(x, y), old, 0.0)
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
    for name in ("xx", "xy", "x", "y", "yy"):
        torch.testing.assert_close(getattr(selected, name), getattr(direct, name), rtol=1e-4, atol=1e-3)


def test_strong_ridge_stays_at_the_old_weights() -> None:
    """In the limit nothing moves but the bias."""
    x, y, old = data(4)
    weight, _ = solve(Moments.of(x, y), old, 1e9)
    assert weight.tolist() == [pytest.approx(row, abs=1e-4) for row in old.tolist()]
