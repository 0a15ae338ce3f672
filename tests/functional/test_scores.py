"""Laws of importance."""

import torch

from pgb_core.search.importance import add_fisher


def test_squared_gradients_of_all_samples_are_added() -> None:
    """To what was there before."""
    inputs, grads = torch.randn(5, 7, 6, dtype=torch.float64), torch.randn(5, 7, 4, dtype=torch.float64)
    total = torch.ones(4, 6, dtype=torch.float64)
    add_fisher(total, inputs, grads)
    torch.testing.assert_close(total, 1 + (grads.transpose(1, 2) @ inputs).square().sum(0))
