"""A dense encoder as ONNX Runtime's transformer optimiser would write it: the baseline of comparisons."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor, nn

from pgb_core.export.builder import CONTRIB, Graph
from pgb_core.export.parts import biased_activation, embeddings, finish, product
from pgb_core.model.blocks import Attention, FeedForward, Layer
from pgb_core.model.encoder import Encoder
from pgb_core.tasks import TASKS


def fused(model: Encoder) -> onnx.ModelProto:
    """A dense encoder with ONNX Runtime's fused operators."""
    g = Graph()
    x = embeddings(g, model.embeddings)
    mask = g.op("Cast", "mask.int32", "attention_mask", to=TensorProto.INT32)
    for layer in model.layers:
        x = _fused_layer(g, layer, x, mask, model.config.activation)
    if not TASKS[model.config.task].per_token:
        x = g.op("Gather", "head.first", x, g.constant("zero", np.int64(0)), axis=1)
    return finish(g, model, x, "token-major, fused")


def _fused_layer(g: Graph, layer: Layer, x: str, mask: str, activation: str) -> str:
    """[batch, tokens, hidden] -> the same, through Attention, SkipLayerNormalization and BiasGelu."""
    name = f"layer.{layer.index}"
    a, f = layer.attention, layer.feed_forward
    if not isinstance(a, Attention) or a.fixed or not isinstance(f, FeedForward):
        raise TypeError("fused writes dense encoders alone")
    maps = [m.chain() for m in a.reading().values()]
    weight = torch.cat([m.to_dense().T for m in maps], dim=1)
    bias = torch.cat([m.bias for m in maps])
    mixed = g.op(
        "Attention",
        f"{name}.attention",
        x,
        g.constant(f"{name}.qkv.weight", weight),
        g.constant(f"{name}.qkv.bias", bias),
        mask,
        domain=CONTRIB,
        num_heads=a.heads,
        scale=float(a.scale),
    )
    branch = product(g, f"{name}.attention_output", a.output.chain(), mixed)
    x = _skip_norm(g, f"{name}.attention_norm", layer.attention_norm, x, branch, a.output.bias)
    inner = product(g, f"{name}.ffn_in", f.inner.chain(), x)
    inner = biased_activation(g, name, f.inner.bias, activation, inner)
    branch = product(g, f"{name}.ffn_out", f.outer.chain(), inner)
    return _skip_norm(g, f"{name}.ffn_norm", layer.feed_forward_norm, x, branch, f.outer.bias)


def _skip_norm(g: Graph, name: str, norm: nn.LayerNorm, x: str, branch: str, bias: Tensor) -> str:
    constants = [
        g.constant(f"{name}.{part}", value)
        for part, value in (("scale", norm.weight), ("shift", norm.bias), ("bias", bias))
    ]
    return g.op("SkipLayerNormalization", name, x, branch, *constants, domain=CONTRIB, epsilon=float(norm.eps))
