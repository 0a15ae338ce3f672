"""Second moments of what the maps that write to the stream read, in the dense model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from pgb_core.model.blocks import Half, attention_bias
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear.lstsq import centred, pooled
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

    def read_by(half: Half) -> Iterator[tuple[Tensor, Tensor]]:
        """What real tokens give the writing map, with nothing beside it. Takes the streams through the half."""
        for n, batch in enumerate(data):
            read = half.sublayer.between(streams[n], attention_bias(batch.attention_mask))
            streams[n] = half.norm(streams[n] + half.sublayer.written(read))
            real = read[batch.attention_mask.bool()]
            yield real, real[:, :0]

    for layer in dense.layers:
        for half in layer.halves:
            for role in half.sublayer.writing():
                found[Site(layer.index, role)] = centred(pooled(read_by(half)))[0]
        progress(layer.index)
    return found
