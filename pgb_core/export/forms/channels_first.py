"""The layout in which a compact encoder runs fastest.

Attention and grouped maps run on [batch, channels, tokens]. In this layout a permutation moves whole rows of tokens, a
grouped map is a convolution of kernel size 1, and heads need no transpose. The residual stream, its norms, and
feed-forward maps without gathers stay [batch, tokens, channels].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from pgb_core.export.builder import CONTRIB, Graph
from pgb_core.export.parts import (
    activate,
    additive_mask,
    biased_activation,
    embeddings,
    finish,
    first_channels,
    layer_norm,
    matrix,
    product,
)
from pgb_core.export.patterns import fixed_attention
from pgb_core.model.blocks import Attention, Constant, FeedForward, Layer, Sublayer
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Chain, Product
from pgb_core.tasks import TASKS


def channels_first(model: Encoder, target: str = "cpu") -> onnx.ModelProto:
    """A compact encoder. target: 'cpu' (grouped convolutions) or 'gpu' (batched products).

    For classification the last layer is computed for the first token alone, since the head reads
    nothing else.
    """
    g = Graph()
    x = embeddings(g, model.embeddings)
    bias = additive_mask(g)
    layers = list(model.layers)
    pooled = not TASKS[model.config.task].per_token
    for position, layer in enumerate(layers):
        if pooled and position == len(layers) - 1:
            x = _first_token_layer(g, layer, x, bias, model.config.activation, target)
        else:
            x = _layer(g, layer, x, bias, model.config.activation, target)
    if pooled and not layers:
        x = g.op("Gather", "head.first", x, g.constant("zero", np.int64(0)), axis=1)
    return finish(g, model, x, f"channels-first, {target}")


def _layer(g: Graph, layer: Layer, x: str, bias: str, activation: str, target: str) -> str:
    """[batch, tokens, hidden] -> the same."""
    name = f"layer.{layer.index}"
    branch = None
    if isinstance(layer.attention, Attention):
        channels = _transposed(g, f"{name}.channels", x)
        mixed = _mixed(g, name, layer.attention, channels, bias, target)
        branch = _linear(g, f"{name}.attention_output", layer.attention.output.chain(), mixed, target, negated=True)
        branch = _transposed(g, f"{name}.attention_tokens", branch)
    x = _residual(g, f"{name}.attention_norm", layer.attention_norm, x, branch, layer.attention)
    branch = None
    if isinstance(layer.feed_forward, FeedForward):
        branch = _feed_forward(g, name, layer.feed_forward, x, activation, target)
    return _residual(g, f"{name}.ffn_norm", layer.feed_forward_norm, x, branch, layer.feed_forward)


def _feed_forward(g: Graph, name: str, module: FeedForward, x: str, activation: str, target: str) -> str:
    """The negated branch, [batch, tokens, hidden].

    Without gathers there is nothing to permute, and token-major products, whose weights the runtime
    packs once, are the fastest; else the pair runs channels-first.
    """
    first, second = module.inner.chain(), module.outer.chain()
    if not first.gathers and not second.gathers:
        inner = product(g, f"{name}.ffn_in", first, x)
        inner = biased_activation(g, name, first.bias, activation, inner)
        outer = product(g, f"{name}.ffn_out", second, inner, negated=True)
        return g.op("Sub", f"{name}.ffn_biased", outer, g.constant(f"{name}.ffn_out.bias", second.bias))
    channels = _transposed(g, f"{name}.ffn_channels", x)
    inner = _linear(g, f"{name}.ffn_in", first, channels, target)
    inner = activate(g, f"{name}.activation", activation, inner)
    branch = _linear(g, f"{name}.ffn_out", second, inner, target, negated=True)
    return _transposed(g, f"{name}.ffn_tokens", branch)


def _residual(g: Graph, name: str, norm: nn.LayerNorm, x: str, negated: str | None, sublayer: Sublayer) -> str:
    """Layer norm of x minus a negated branch, or plus a dropped sublayer's constant, token-major.

    The branch is subtracted on purpose: an addition before a norm would be fused by the runtime into
    SkipLayerNormalization, whose kernel takes several times as long as the two operators apart.
    """
    if negated is None:
        negated = g.constant(f"{name}.constant", -_constant(sublayer))
    return layer_norm(g, name, norm, g.op("Sub", f"{name}.sum", x, negated))


def _constant(sublayer: Sublayer) -> Tensor:
    """What a dropped sublayer adds."""
    assert isinstance(sublayer, Constant)
    return sublayer.bias.detach()


def _transposed(g: Graph, name: str, x: str) -> str:
    return g.op("Transpose", name, x, perm=[0, 2, 1])


def _mixed(g: Graph, name: str, a: Attention, channels: str, bias: str, target: str, first: str | None = None) -> str:
    """[batch, hidden, tokens] -> [batch, channels of the value, tokens].

    first: the first token, [batch, hidden], where it alone is asked for; the result is [batch, channels] then.
    """
    heads = _Heads.of(a)
    read: list[str] = []
    if heads is not None and first is not None:
        read.append(matrix(g, f"{name}.query", heads.query, first))
    elif heads is not None:
        read.append(_linear(g, f"{name}.query", heads.query, channels, target))
    if heads is not None:
        read.append(_linear(g, f"{name}.key", heads.key, channels, target))
    values = [_linear(g, f"{name}.value", a.value.chain(), channels, target)]
    widths = [width for width in a.widths if width]
    if len(widths) > 1:
        names = [f"{name}.value.{n}" for n in range(len(widths))]
        values = g.several("Split", names, values[0], g.constant(f"{name}.value.sizes", widths), axis=1)

    def shaped(of: str, x: str, width: int) -> str:
        shape = [0, width] if first is not None else [0, width, -1]
        return g.op("Reshape", of, x, g.constant(f"{of}.shape", shape))

    mixed = []
    if heads is not None:
        attended = _attend(g, f"{name}.attention", heads, read[0], read[1], values[0], bias)
        mixed.append(shaped(f"{name}.mixed", attended, heads.width))
    for (pattern, _), value in zip(a.fixed, values[len(mixed) :], strict=True):
        one = fixed_attention(g, f"{name}.{pattern}", pattern, value, 2, first is not None)
        mixed.append(one if first is None else shaped(f"{name}.{pattern}.mixed_first", one, widths[len(mixed)]))
    return mixed[0] if len(mixed) == 1 else g.op("Concat", f"{name}.heads", *mixed, axis=1)


@dataclass(frozen=True)
class _Heads:
    """The maps by which heads learn what they attend to. width: their channels of the value. masking: queries end in a
    constant and keys in room for the mask.

    Adding the mask to one channel of the keys, [tokens], costs nothing beside adding it to all
    scores, [tokens, tokens]; the constant in every query carries it there.
    """

    query: Chain
    key: Chain
    heads: int
    width: int
    scale: float
    masking: bool

    @classmethod
    def of(cls, a: Attention) -> _Heads | None:
        """With one more channel a head, where query and key end in one block each; None where no head learns."""
        if a.learned is None:
            return None
        query, key = (m.chain() for m in a.learned)
        masking = query.products[-1].one_block and key.products[-1].one_block
        if masking:
            query, key = _with_channel(query, a.heads, 1 / a.scale), _with_channel(key, a.heads, 0.0)
        return cls(query, key, a.heads, a.widths[0], a.scale, masking)


def _with_channel(chain: Chain, heads: int, value: float) -> Chain:
    """One more output after each head's, without weights: its bias."""
    *first, last = chain.products
    weight = last.blocks.detach()[0].unflatten(0, (heads, -1))
    bias = chain.bias.detach().unflatten(0, (heads, -1))
    weight = torch.cat([weight, weight.new_zeros(heads, 1, weight.shape[2])], dim=1)
    bias = torch.cat([bias, bias.new_full((heads, 1), value)], dim=1)
    wider = replace(last, blocks=weight.flatten(0, 1).unsqueeze(0))
    return Chain((*first, wider), bias.flatten())


def _attend(g: Graph, name: str, a: _Heads, query: str, key: str, value: str, bias: str) -> str:
    """[batch, heads * d, tokens] each -> [batch, heads, d, tokens of the query]."""

    def split(kind: str, source: str, width: int) -> str:
        shape = g.constant(f"{name}.{kind}.shape", [0, a.heads, width // a.heads, -1])
        return g.op("Reshape", f"{name}.{kind}", source, shape)

    q, k = split("query", query, a.query.out_features), split("key", key, a.key.out_features)
    v = split("value", value, a.width)
    if a.masking:
        room = g.constant(f"{name}.room", [0, 0, a.key.out_features // a.heads - 1, 0, 0, 0, 0, 0])
        k = g.op("Add", f"{name}.masked", k, g.op("Pad", f"{name}.mask", bias, room))
    scores = g.op("FusedMatMul", f"{name}.scores", q, k, domain=CONTRIB, transA=1, alpha=float(a.scale))
    if not a.masking:
        scores = g.op("Add", f"{name}.masked", scores, bias)
    weights = g.op("Softmax", f"{name}.weights", scores, axis=-1)
    return g.op("FusedMatMul", f"{name}.out", v, weights, domain=CONTRIB, transB=1)


def _first_token_layer(g: Graph, layer: Layer, x: str, bias: str, activation: str, target: str) -> str:
    """[batch, tokens, hidden] -> [batch, hidden] of the first token."""
    name = f"layer.{layer.index}"
    first = g.op("Gather", f"{name}.first", x, g.constant("zero", np.int64(0)), axis=1)
    if isinstance(layer.attention, Attention):
        mixed = _mixed(g, name, layer.attention, _transposed(g, f"{name}.channels", x), bias, target, first)
        branch = matrix(g, f"{name}.attention_output", layer.attention.output.chain(), mixed)
    else:
        branch = g.constant(f"{name}.attention_constant", _constant(layer.attention))
    first = layer_norm(g, f"{name}.attention_norm", layer.attention_norm, g.op("Add", f"{name}.sum", first, branch))
    if isinstance(layer.feed_forward, FeedForward):
        inner = matrix(g, f"{name}.ffn_in", layer.feed_forward.inner.chain(), first)
        inner = activate(g, f"{name}.activation", activation, inner)
        branch = matrix(g, f"{name}.ffn_out", layer.feed_forward.outer.chain(), inner)
    else:
        branch = g.constant(f"{name}.ffn_constant", _constant(layer.feed_forward))
    return layer_norm(g, f"{name}.ffn_norm", layer.feed_forward_norm, g.op("Add", f"{name}.ffn_sum", first, branch))


def _linear(g: Graph, name: str, chain: Chain, x: str, target: str, negated: bool = False) -> str:
    """[batch, in, tokens] -> [batch, out, tokens]."""
    *first, last = chain.products
    for n, one in enumerate(first):
        x = _product(g, f"{name}.{n}", one, None, x, target)
    bias = chain.bias.detach()
    if negated:
        last, bias = replace(last, blocks=-last.blocks), -bias
    return _product(g, name, last, bias, x, target)


def _product(g: Graph, name: str, one: Product, bias: Tensor | None, x: str, target: str) -> str:
    """One product of a chain; at most one gather before and one after."""
    blocks, out_index = one.blocks.detach(), one.out_index
    groups, rows, _ = blocks.shape
    if one.in_index is not None and one.prefix is not None:
        x = first_channels(g, x, one.prefix, axis=1)
    elif one.in_index is not None:
        x = g.op("Gather", f"{name}.gather", x, g.constant(f"{name}.index", one.in_index.flatten()), axis=1)
    if out_index is None:
        return _blocks(g, name, blocks, bias, x, target)
    grouped = out_index >= 0
    bias = blocks.new_zeros(len(out_index)) if bias is None else bias
    packed_bias = bias.new_zeros(groups * rows)
    packed_bias[out_index[grouped]] = bias[grouped]
    y = _blocks(g, name, blocks, packed_bias, x, target)
    y = g.op("Gather", f"{name}.scatter", y, g.constant(f"{name}.order", out_index.clamp_min(0)), axis=1)
    if bool(grouped.all()):
        return y
    y = g.op("Mul", f"{name}.kept", y, g.constant(f"{name}.grouped", grouped.float().unsqueeze(1)))
    rest = torch.where(grouped, 0.0, bias)
    return g.op("Add", f"{name}.biased", y, g.constant(f"{name}.rest", rest.unsqueeze(1)))


def _blocks(g: Graph, name: str, blocks: Tensor, bias: Tensor | None, x: str, target: str) -> str:
    groups, rows, cols = blocks.shape
    if target == "cpu":
        weight = g.constant(f"{name}.weight", blocks.reshape(groups * rows, cols, 1))
        biases = [] if bias is None else [g.constant(f"{name}.bias", bias)]
        return g.op("Conv", name, x, weight, *biases, group=groups, kernel_shape=[1])
    if groups > 1:
        x = g.op("Reshape", f"{name}.split", x, g.constant(f"{name}.split.shape", [0, groups, cols, -1]))
    weight = g.constant(f"{name}.weight", blocks if groups > 1 else blocks[0])
    y = g.op("MatMul", f"{name}.product", weight, x)
    if groups > 1:
        y = g.op("Reshape", f"{name}.packed", y, g.constant(f"{name}.packed.shape", [0, groups * rows, -1]))
    return y if bias is None else g.op("Add", name, y, g.constant(f"{name}.bias", bias.unsqueeze(1)))
