"""Measures how much worse a model answers when a head, or all attention of a layer, is disabled.

Kovaleva et al. 2019 (arXiv 1908.08593) disable a head by weights that are the same for every token of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from pgb_core.model.blocks import Attention, Layer, attention_bias, through
from pgb_core.model.encoder import Encoder
from pgb_core.model.patterns import pattern_weights
from pgb_core.plan import Pattern
from pgb_core.tasks.features import Batch

Unit = tuple[int, ...]  # a layer, and a head of it where single ones are disabled
Trials = Callable[[Layer, Tensor, Tensor | None], Iterator[tuple[Unit, Tensor]]]
Judge = Callable[[int, Tensor], Tensor]


@torch.no_grad()
def worth(
    model: Encoder,
    batches: Sequence[Batch],
    judge: Judge,
    trials: Trials,
    progress: Callable[[int], None] = lambda rows: None,
) -> dict[Unit, float]:
    """How much higher the judge's mean over rows is with a unit disabled.

    judge: of a batch, by its number, and of logits: their mean over its rows; lower is better. trials: of a layer, the
    stream before it and the mask: each unit, and what its attention writes without that one.
    """
    device = next(model.parameters()).device
    layers, sums, whole, rows = list(model.layers), dict[Unit, float](), 0.0, 0
    for number, batch in enumerate(batch.to(device) for batch in batches):
        count, mask = len(batch.input_ids), attention_bias(batch.attention_mask)
        x = model.embeddings(batch.input_ids, batch.token_type_ids)
        for place, layer in enumerate(layers):
            attention, feed_forward = layer.halves
            for unit, written in trials(layer, x, mask):
                y = feed_forward(attention.norm(x + written), mask)
                logits = model.head(through(layers[place + 1 :], y, mask))
                sums[unit] = sums.get(unit, 0.0) + count * float(judge(number, logits))
            x = layer(x, mask)
        whole += count * float(judge(number, model.head(x)))
        rows += count
        progress(count)
    return {unit: (total - whole) / rows for unit, total in sums.items()}


def uniform_heads(layer: Layer, x: Tensor, mask: Tensor | None) -> Iterator[tuple[Unit, Tensor]]:
    """For each head that learns, what the attention writes where that head attends to every real token alike.

    Heads are numbered among those that learn.
    """
    attention = layer.attention
    if not isinstance(attention, Attention) or attention.learned is None:
        return
    mixed, width = attention.between(x, mask), attention.widths[0] // attention.heads
    real = x.new_ones(1, x.shape[1], dtype=torch.bool) if mask is None else mask[:, 0, 0] == 0
    uniform = pattern_weights(Pattern.UNIFORM, real) @ attention.value(x)
    for head in range(attention.heads):
        one = slice(head * width, (head + 1) * width)
        changed = mixed.clone()
        changed[..., one] = uniform[..., one]
        yield (layer.index, head), attention.written(changed)


def without_attention(means: Mapping[int, Tensor]) -> Trials:
    """Trials of layers: the attention writes its mean. means: by layer, [hidden]."""

    def trials(layer: Layer, x: Tensor, mask: Tensor | None) -> Iterator[tuple[Unit, Tensor]]:
        if isinstance(layer.attention, Attention):
            yield (layer.index,), means[layer.index]

    return trials


@torch.no_grad()
def mean_written(model: Encoder, batches: Sequence[Batch]) -> dict[int, Tensor]:
    """What the attention of each layer writes to real tokens in the mean, [hidden]."""
    device = next(model.parameters()).device
    sums: dict[int, Tensor] = {}
    tokens = 0
    for batch in (batch.to(device) for batch in batches):
        real, mask = batch.attention_mask.bool(), attention_bias(batch.attention_mask)
        x = model.embeddings(batch.input_ids, batch.token_type_ids)
        for layer in model.layers:
            total = layer.attention(x, mask).expand_as(x)[real].sum(0)
            sums[layer.index] = sums.get(layer.index, torch.zeros_like(total)) + total
            x = layer(x, mask)
        tokens += int(real.sum())
    return {index: total / tokens for index, total in sums.items()}
