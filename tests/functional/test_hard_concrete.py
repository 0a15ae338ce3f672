"""Laws of Hard Concrete gates."""

import pytest
import torch

from pgb_core.search.hard_concrete import open_probability, sampled, settled


@pytest.mark.parametrize("temperature", [0.33, 0.66])
@pytest.mark.parametrize("log_alpha", [-3.0, -0.5, 0.0, 1.0, 4.0])
def test_the_share_of_open_gates_is_the_one_foretold(log_alpha: float, temperature: float) -> None:
    """Over evenly spread uniform numbers, for a few places and temperatures."""
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    where = torch.full_like(uniform, log_alpha)
    gates = sampled(where, uniform, temperature)
    assert 0 <= gates.min() <= gates.max() <= 1
    foretold = open_probability(where[:1], temperature)
    assert float((gates > 0).double().mean()) == pytest.approx(float(foretold), abs=1e-3)


def test_gradients_of_sampled_gates_are_those_of_differences() -> None:
    """And are 0 where a gate is 0 or 1 exactly."""
    log_alpha = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    uniform = torch.tensor([0.5, 0.02, 0.6, 0.4, 0.3, 0.7, 0.5, 0.99, 0.2], dtype=torch.float64)
    (found,) = torch.autograd.grad(sampled(log_alpha, uniform).sum(), log_alpha)
    with torch.no_grad():
        step = 1e-6
        wanted = (sampled(log_alpha + step, uniform) - sampled(log_alpha - step, uniform)) / (2 * step)
        gates = sampled(log_alpha, uniform)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)
    cut = (gates == 0) | (gates == 1)
    assert 0 < int(cut.sum()) < len(cut)
    assert not found[cut].any()


def test_settled_gates_are_closed_or_open_at_the_ends_and_rise_between() -> None:
    """The middle is one half."""
    gates = settled(torch.tensor([-10.0, -3.0, -1.0, 0.0, 1.0, 3.0, 10.0], dtype=torch.float64))
    assert gates[[0, 1]].tolist() == [0, 0]
    assert gates[[-2, -1]].tolist() == [1, 1]
    assert float(gates[3]) == pytest.approx(0.5)
    assert (gates.diff() >= 0).all()


def test_uniform_numbers_at_the_ends_give_gates_that_are_finite() -> None:
    """0 and 1 come out of generators, and have no logit."""
    gates = sampled(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert gates.tolist() == [0, 1]
