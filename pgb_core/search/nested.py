"""The ways to prune one sublayer when all maps that read the residual stream read a prefix of one order of it.

One order of the stream's channels is chosen for the whole model and built into the weights. A map that reads the first
channels then reads a contiguous slice, without a gather. Query, key and value of a layer read the same prefix; the
feed-forward pair reads one of its own. Maps that write to the stream write all of it. As in `menus`, heads, channels of
heads, and neurons leave every matrix that has them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pgb_core.plan import ATTENTION, FEED_FORWARD, WRITING, Role, Site
from pgb_core.search.budget import Option, combine, pareto
from pgb_core.search.grouping import Blocks
from pgb_core.search.menus import (
    HEAD_WIDTHS,
    WIDTHS,
    Draft,
    Importances,
    Matrix,
    Menu,
    Part,
    Recipe,
    best_channels,
    nothing_left,
    option_of,
    rounded,
)
from pgb_core.search.prices import Prices

_READING = tuple(role for role in Role if role not in WRITING)
_WIDE = 512  # channels of a stream from which on prefixes end at multiples of 64, and below at multiples of 32


def stream_order(importances: Mapping[Site, Tensor]) -> Tensor:
    """The channels of the stream, [hidden], by how important all maps of the model that read it find them.

    importances: [out, in] each. No order keeps more where all maps read as many channels. Of equals the first is first.
    """
    sums = [values.double().sum(0) for site, values in importances.items() if site.role in _READING]
    return torch.stack(sums).sum(0).argsort(descending=True, stable=True)


def in_order(values: Tensor, role: Role, order: Tensor) -> Tensor:
    """What a matrix [out, in] of this role is when the stream has this order."""
    return values.index_select(0 if role in WRITING else 1, order)


def prefixes(hidden: int) -> list[int]:
    """How many channels of the stream a map may read, ascending: sizes that kernels like, and all of them."""
    step = 64 if hidden >= _WIDE else 32
    return [*range(step, hidden, step), hidden]


def feed_forward_menu(importances: Importances, prices: Prices) -> Menu:
    """Neurons kept x channels of the stream read, and dropping the sublayer. importances: in the stream's order."""
    inner, outer = (Matrix.of(importances, role, prices) for role in FEED_FORWARD)
    every = torch.arange(outer.shape[0]).unsqueeze(0)
    there, read, written = prices.of_sublayer(outer.shape[0], False), inner.values.cumsum(1), outer.values.sum(0)
    menu = [nothing_left(importances)]
    for count in prefixes(inner.shape[1]):
        order = (read[:, count - 1] + written).argsort(descending=True, stable=True)
        for width in WIDTHS:
            neurons = order[: rounded(width, len(order))].sort().values
            blocks = Blocks(every, neurons.unsqueeze(0), float(written[neurons].sum()))
            first = _prefix(inner, neurons, count, read[:, count - 1])
            around = there + prices.of_neurons(len(neurons))
            menu.append(option_of((first, outer.part(blocks, available=len(neurons))), around))
    return pareto(menu)


def attention_menu(importances: Importances, head_dim: int, prices: Prices) -> Menu:
    """Heads kept x channels a head x channels of the stream read, and dropping the sublayer.

    importances: in the stream's order.
    """
    query, key, value, output = (Matrix.of(importances, role, prices) for role in ATTENTION)
    reads = [matrix.values.cumsum(1) for matrix in (query, key, value)]
    written = output.values.sum(0)
    every = torch.arange(output.shape[0]).unsqueeze(0)
    widths = sorted({rounded(width, head_dim) for width in HEAD_WIDTHS})
    there: Option[Recipe] = Option(0, prices.of_sublayer(output.shape[0], True), 0.0, {})
    menu = [nothing_left(importances)]
    for count in prefixes(query.shape[1]):
        by_query, by_key, by_value = (sums[:, count - 1] for sums in reads)
        scored, mixed = ((one + other).view(-1, head_dim) for one, other in ((by_query, by_key), (by_value, written)))
        best_scored, best_mixed = (best_channels(sums, widths) for sums in (scored, mixed))
        ranked = (scored.sum(1) + mixed.sum(1)).argsort(descending=True, stable=True)
        for number in range(1, len(ranked) + 1):
            heads = ranked[:number].sort().values
            pairs, outputs = [], []
            for width in widths:
                rows, channels = best_scored[width][heads].flatten(), best_mixed[width][heads].flatten()
                pair = _prefix(query, rows, count, by_query), _prefix(key, rows, count, by_key)
                pairs.append(option_of(pair, prices.of_attention(number, 2 * width)))
                blocks = Blocks(every, channels.unsqueeze(0), float(written[channels].sum()))
                last = output.part(blocks, available=len(channels))
                outputs.append(option_of((_prefix(value, channels, count, by_value), last)))
            menu += combine(pairs, combine([there], outputs))
    return pareto(menu)


def _prefix(matrix: Matrix, rows: Tensor, count: int, kept: Tensor) -> Part:
    """Some rows over the first `count` columns. kept: importance of every row there, [out]."""
    draft = Draft(matrix.shape, rows.unsqueeze(0), torch.arange(count).unsqueeze(0))
    price = matrix.prices.of_prefix(len(rows), count, matrix.shape[1])
    return Part(matrix.role, draft, float(kept[rows].sum()), price)
