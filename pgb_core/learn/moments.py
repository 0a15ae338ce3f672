"""Second moments of what the maps that write to the stream read, in the dense model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pgb_core.model.blocks import attention_bias
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear.lstsq import gram
from pgb_core.plan import Site
from pgb_core.tasks.features import Batch


@torch.no_grad()
def read_by_writers(
    dense: Encoder, batches: Sequence[Batch], progress: Callable[[int], None] = lambda layer: None
) -> dict[Site, Tensor]:
    """Covariance over all real tokens, [in, in] in float64, by the map that reads them. progress: told of each layer.

    Every layer runs once; one hidden state of all batches is held.
    """
    device = next(dense.parameters()).device
    data = [batch.to(device) for batch in batches]
    streams = [dense.embeddings(batch.input_ids, batch.token_type_ids) for batch in data]
    found: dict[Site, Tensor] = {}
    for layer in dense.layers:
        for half in layer.halves:
            for role in half.sublayer.writing():
                products: Tensor | None = None
                sums: Tensor | None = None
                tokens = 0
                for n, batch in enumerate(data):
                    read = half.sublayer.between(streams[n], attention_bias(batch.attention_mask))
                    real = read[batch.attention_mask.bool()]
                    products = gram(real) if products is None else products.add_(gram(real))
                    sums = real.sum(0) if sums is None else sums.add_(real.sum(0))
                    tokens += len(real)
                    streams[n] = half.norm(streams[n] + half.sublayer.written(read))
                if products is not None and sums is not None:
                    mean = sums.double() / tokens
                    found[Site(layer.index, role)] = products.double() / tokens - torch.outer(mean, mean)
        progress(layer.index)
    return found
