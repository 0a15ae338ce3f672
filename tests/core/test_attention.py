"""Attention in one kernel is attention."""

import pytest
import torch
from torch import nn

from pgb_core.model.blocks import Attention, attention_bias


@pytest.mark.parametrize(("narrow", "wide"), [(8, 8), (8, 12), (12, 8)])
@pytest.mark.parametrize("padded", [False, True])
def test_the_fused_kernel_gives_what_is_spelled_out(narrow: int, wide: int, padded: bool) -> None:
    """For any widths of query and value, with and without padding."""
    maps = nn.Linear(24, 3 * narrow), nn.Linear(24, 3 * narrow), nn.Linear(24, 3 * wide), nn.Linear(3 * wide, 24)
    attention = Attention(*maps, heads=3, scale=0.3)
    x, tokens = torch.randn(2, 10, 24), torch.ones(2, 10)
    if padded:
        tokens[1, 6:] = 0
    spelled_out = attention(x, attention_bias(tokens))
    with torch.no_grad():
        torch.testing.assert_close(attention(x, attention_bias(tokens)), spelled_out.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_narrow_type_stays_narrow_and_masks_what_is_padding(gradients: bool) -> None:
    """In bfloat16 the result has that type, is near that in float32, and depends on no padded token."""
    torch.manual_seed(0)
    maps = (nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 24))
    attention = Attention(*maps, heads=3, scale=0.3)
    x, tokens = torch.randn(2, 10, 24), torch.ones(2, 10)
    tokens[1, 6:] = 0
    other = x.clone()
    other[1, 6:] = 7.0
    exact = attention(x, attention_bias(tokens)).detach()
    attention = attention.bfloat16()
    with torch.set_grad_enabled(gradients):
        found, changed = (attention(x.bfloat16(), attention_bias(tokens)).detach() for x in (x, other))
    assert found.dtype == torch.bfloat16
    real = tokens.bool()
    torch.testing.assert_close(found[real].float(), exact[real], rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(found[real], changed[real], rtol=0, atol=0)
