"""How far the attention of each head is from fixed patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pgb_core.model.blocks import Attention, attention_bias
from pgb_core.model.encoder import Encoder
from pgb_core.model.patterns import pattern_weights
from pgb_core.plan import Pattern
from pgb_core.tasks.features import Batch

LEAST = 1e-12  # weight of what a head does not attend to at all, so that no divergence is infinite


@torch.no_grad()
def divergences(model: Encoder, batches: Iterable[Batch], patterns: Sequence[Pattern]) -> dict[int, Tensor]:
    """For each layer with heads that learn, [heads, patterns]: KL(pattern || attention), the mean over real tokens.

    In this direction every token that the pattern attends to has to be attended to by the head.
    """
    device = next(model.parameters()).device
    sums: dict[int, Tensor] = {}
    tokens = 0
    for batch in (batch.to(device) for batch in batches):
        real, mask = batch.attention_mask.bool(), attention_bias(batch.attention_mask)
        fixed = [pattern_weights(pattern, real) for pattern in patterns]
        x = model.embeddings(batch.input_ids, batch.token_type_ids)
        for layer in model.layers:
            if isinstance(layer.attention, Attention) and layer.attention.learned is not None:
                logs = layer.attention.weights(x, mask).float().clamp_min(LEAST).log()
                total = torch.stack([_divergence(weights, logs, real) for weights in fixed], dim=1)
                sums[layer.index] = sums.get(layer.index, torch.zeros_like(total)) + total
            x = layer(x, mask)
        tokens += int(real.sum())
    return {index: total / tokens for index, total in sums.items()}


def _divergence(weights: Tensor, logs: Tensor, real: Tensor) -> Tensor:
    """The divergence of each head, the sum over real tokens.

    weights: [batch, tokens, tokens]; logs: the same with a head axis."""
    own = torch.xlogy(weights, weights).sum(-1).unsqueeze(1)
    crossed = (weights.unsqueeze(1) * logs).sum(-1)
    return ((own - crossed) * real.unsqueeze(1)).sum((0, 2))
