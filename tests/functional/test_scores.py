"""Laws of importance."""

import torch

from pgb_core.search.importance import add_fisher, fisher_from_batch


def test_samples_one_by_one_add_what_the_batch_sums() -> None:
    """To what was there before."""
    inputs, grads = torch.randn(5, 7, 6, dtype=torch.float64), torch.randn(5, 7, 4, dtype=torch.float64)
    total = torch.ones(4, 6, dtype=torch.float64)
    add_fisher(total, inputs, grads)
    torch.testing.assert_close(total, 1 + fisher_from_batch(inputs, grads))
