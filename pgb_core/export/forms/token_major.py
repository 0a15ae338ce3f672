"""Token-major graphs, [batch, tokens, channels] throughout: one walk through the encoder for all runtimes.

The file of a runtime defines a subclass of `Writer`, which says how products, attention and sums are written for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from torch import Tensor

from pgb_core.export.builder import Graph
from pgb_core.export.parts import embeddings, finish, layer_norm
from pgb_core.export.patterns import fixed_attention
from pgb_core.export.ranges import Range, Ranges
from pgb_core.model.blocks import Attention, Constant, FeedForward, Half, Layer, Sublayer
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Chain, Product
from pgb_core.model.quantise import even
from pgb_core.tasks import TASKS


class Writer(ABC):
    """Writes one encoder into a graph.

    note: of the graph, for a reader. small_tables: whether words are stored as int8 with a scale a row. negated:
    whether what a sublayer writes is stored negated, and subtracted from the stream.
    """

    note: str
    small_tables = False
    negated = False

    def __init__(self, g: Graph, model: Encoder, ranges: Ranges) -> None:
        self.g = g
        self.ranges = ranges
        self._exact = {f"layer.{site.layer}.{site.role}" for site, linear in model.sites().items() if linear.exact}
        self.activation = model.config.activation

    @abstractmethod
    def product(self, name: str, weight: Tensor, bias: Tensor | None, x: str, seen: Range | None) -> str:
        """[batch, tokens, in] -> [batch, tokens, out]. weight: [out, in]; bias: [out]; seen: of x, where known."""

    def exact(self, name: str) -> bool:
        """Whether a map stays in float32. name: of the map, or of a product of it."""
        return ".".join(name.split(".")[:3]) in self._exact

    def plain(self, name: str, weight: str, bias: Tensor | None, x: str) -> str:
        """A product of ONNX's own, and a sum. weight: a constant, [in, out]; bias: [out]."""
        y = self.g.op("MatMul", f"{name}.product" if bias is not None else name, x, weight)
        return y if bias is None else self.g.op("Add", name, y, self.g.constant(f"{name}.bias", bias))

    def evened(self, name: str, weight: Tensor, x: str, seen: Range) -> tuple[Tensor, str, Range]:
        """The weight [out, in], its input and the range of that, with channels of the stream of similar sizes."""
        if not seen.stream:
            return weight, x, seen
        factors = even(seen.largest, weight)
        x = self.g.op("Mul", f"{name}.even", x, self.g.constant(f"{name}.shares", 1 / factors))
        return weight * factors, x, seen.divided(factors)

    @abstractmethod
    def attend(self, name: str, a: Attention, query: str, key: str, value: str) -> str:
        """[batch, tokens, heads * channels] each -> the value channels, mixed over tokens, of heads that learn."""

    @abstractmethod
    def activated(self, name: str, chain: Chain, x: str) -> str:
        """A map of x and the activation."""

    def maps(self, names: Sequence[str], chains: Sequence[Chain], x: str) -> list[str]:
        """Several maps of one input, biases included; those that read the same channels become one product."""
        g, firsts = self.g, [chain.products[0] for chain in chains]
        if not (
            len(chains) > 1
            and all(len(chain.products) == 1 and chain.products[0].one_block for chain in chains)
            and all(_same(firsts[0].in_index, other.in_index) for other in firsts[1:])
            and len({self.exact(name) for name in names}) == 1
        ):
            return [self.map(name, chain, x) for name, chain in zip(names, chains, strict=True)]
        name = f"{names[0]}.together"
        weight = torch.cat([product.blocks[0] for product in firsts])
        bias = torch.cat([chain.bias for chain in chains])
        every = self.product(name, weight, bias, self.read(name, firsts[0], 0, x), self.seen(names[0], firsts[0], 0))
        sizes = g.constant(f"{name}.sizes", [chain.out_features for chain in chains])
        return g.several("Split", names, every, sizes, axis=-1)

    def map(self, name: str, chain: Chain, x: str, biased: bool = True, negated: bool = False) -> str:
        """One map: its products one after the other, and its bias unless that is left out."""
        *first, last = chain.products
        for n, one in enumerate(first):
            x = self.blocks(f"{name}.{n}", one, None, x, reader="" if n else name)
        sign = -1 if negated else 1
        bias = sign * chain.bias.detach() if biased else None
        return self.blocks(name, last, bias, x, sign, reader="" if first else name)

    def blocks(self, name: str, one: Product, bias: Tensor | None, x: str, sign: int = 1, reader: str = "") -> str:
        """One product of a chain: a product a block, and a gather where the outputs have another order.

        reader: the map whose input x is, if it is one's.
        """
        g, blocks, order = self.g, sign * one.blocks.detach(), one.out_index
        packed = bias
        if order is not None and bias is not None:
            packed = bias.new_zeros(blocks.shape[0] * blocks.shape[1])
            packed[order[order >= 0]] = bias[order >= 0]
        parts = [None] * len(blocks) if packed is None else list(packed.split(blocks.shape[1]))
        outputs = [
            self.product(
                name if len(blocks) == 1 else f"{name}.{n}",
                block,
                part,
                self.read(name, one, n, x),
                self.seen(reader, one, n),
            )
            for n, (block, part) in enumerate(zip(blocks, parts, strict=True))
        ]
        y = outputs[0] if len(outputs) == 1 else g.op("Concat", f"{name}.blocks", *outputs, axis=-1)
        if order is None:
            return y
        grouped = order >= 0
        y = g.op("Gather", f"{name}.scatter", y, g.constant(f"{name}.order", order.clamp_min(0)), axis=-1)
        if bool(grouped.all()):
            return y
        y = g.op("Mul", f"{name}.kept", y, g.constant(f"{name}.grouped", grouped.float()))
        if bias is None:
            return y
        return g.op("Add", f"{name}.biased", y, g.constant(f"{name}.rest", torch.where(grouped, 0.0, bias)))

    def seen(self, reader: str, one: Product, block: int) -> Range | None:
        """The range of the channels that a block of a map reads, where it is known."""
        found = self.ranges.get(reader)
        return found and found.of(None if one.in_index is None else one.in_index[block])

    def read(self, name: str, one: Product, block: int, x: str) -> str:
        """The channels that a block reads: all, the first ones, or a choice."""
        g = self.g
        if one.in_index is None:
            return x
        index = one.in_index[block]
        count = len(index)
        if bool((index == torch.arange(count, device=index.device)).all()):
            if count == one.in_features:
                return x
            ends = [g.constant(f"to.{count}", [count]), g.constant("axis.last", [-1])]
            return g.op("Slice", f"{name}.{block}.prefix", x, g.constant("from.first", [0]), *ends)
        return g.op("Gather", f"{name}.{block}.gather", x, g.constant(f"{name}.{block}.index", index), axis=-1)

    def residual(self, name: str, half: Half, x: str, written: str) -> str:
        """The norm of the stream with what a sublayer wrote."""
        kind = "Sub" if self.negated else "Add"
        return layer_norm(self.g, name, half.norm, self.g.op(kind, f"{name}.sum", x, written))

    def constant(self, name: str, sublayer: Sublayer) -> str:
        """What a dropped sublayer writes."""
        if not isinstance(sublayer, Constant):
            raise TypeError(f"{name}: a sublayer of another kind than this form knows")
        return self.g.constant(f"{name}.constant", -sublayer.bias if self.negated else sublayer.bias)

    def outer(self, name: str, chain: Chain, x: str) -> str:
        """What a feed-forward pair writes to the stream. x: its neurons."""
        return self.written(name, chain, x)

    def written(self, name: str, chain: Chain, x: str) -> str:
        """What a sublayer's last map writes to the stream."""
        return self.map(name, chain, x, negated=self.negated)


def token_major(model: Encoder, ranges: Ranges, kind: type[Writer]) -> onnx.ModelProto:
    """A compact or dense encoder. For classification the last layer is computed for the first token alone."""
    g = Graph()
    writer = kind(g, model, ranges)
    x = embeddings(g, model.embeddings, small=kind.small_tables)
    pooled = not TASKS[model.config.task].per_token
    layers = list(model.layers)
    for position, layer in enumerate(layers):
        x = _layer(writer, layer, x, first_only=pooled and position == len(layers) - 1)
    if pooled:
        x = g.op("Gather", "head.first", x, g.constant("zero", np.int64(0)), axis=1)
    return finish(g, model, x, writer.note)


def _layer(w: Writer, layer: Layer, x: str, first_only: bool) -> str:
    """[batch, tokens, hidden] -> the same, or of the first token alone."""
    name = f"layer.{layer.index}"
    attention, feed_forward = layer.halves
    stream = x
    if first_only:
        ends = [w.g.constant(n, [value]) for n, value in (("from.first", 0), ("to.1", 1), ("axis.tokens", 1))]
        x = w.g.op("Slice", f"{name}.first", stream, *ends)
    if isinstance(layer.attention, Attention):
        mixed = _mixed(w, name, layer.attention, x, stream)
        written = w.written(f"{name}.attention_output", layer.attention.output.chain(), mixed)
    else:
        written = w.constant(f"{name}.attention_norm", layer.attention)
    x = w.residual(f"{name}.attention_norm", attention, x, written)
    if isinstance(layer.feed_forward, FeedForward):
        inner = w.activated(name, layer.feed_forward.inner.chain(), x)
        written = w.outer(f"{name}.ffn_out", layer.feed_forward.outer.chain(), inner)
    else:
        written = w.constant(f"{name}.ffn_norm", layer.feed_forward)
    return w.residual(f"{name}.ffn_norm", feed_forward, x, written)


def _mixed(w: Writer, name: str, a: Attention, x: str, stream: str) -> str:
    """The value channels of all heads, mixed over tokens. x: the stream, or its first token where that alone counts."""
    first_only = x != stream
    maps = {f"{name}.{role}": linear.chain() for role, linear in a.reading().items()}
    names, chains = list(maps), list(maps.values())
    if first_only and a.learned is not None:
        read = [w.map(names[0], chains[0], x), *w.maps(names[1:], chains[1:], stream)]
    else:
        read = w.maps(names, chains, stream)
    if not a.fixed:
        return w.attend(f"{name}.attention", a, *read)
    widths = [width for width in a.widths if width]
    values = read[-1:]
    if len(widths) > 1:
        parts = [f"{name}.value.{n}" for n in range(len(widths))]
        values = w.g.several("Split", parts, read[-1], w.g.constant(f"{name}.value.sizes", widths), axis=-1)
    mixed = [w.attend(f"{name}.attention", a, read[0], read[1], values[0])] if a.learned else []
    for (pattern, _), one in zip(a.fixed, values[len(mixed) :], strict=True):
        mixed.append(fixed_attention(w.g, f"{name}.{pattern}", pattern, one, 1, first_only))
    return mixed[0] if len(mixed) == 1 else w.g.op("Concat", f"{name}.heads", *mixed, axis=-1)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)
