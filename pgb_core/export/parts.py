"""Parts that all graph forms share: embeddings, products, norms, activations and the head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor, nn

from pgb_core.export.builder import CONTRIB, Graph
from pgb_core.model.encoder import Embeddings, Encoder, Head
from pgb_core.model.linear import Chain, Product
from pgb_core.model.quantise import quantised
from pgb_core.tasks import TASKS

OPERATORS = {
    "gelu": ("Gelu", CONTRIB),
    "gelu_new": ("FastGelu", CONTRIB),
    "gelu_pytorch_tanh": ("FastGelu", CONTRIB),
    "relu": ("Relu", ""),
    "tanh": ("Tanh", ""),
}


def input_names(model: Encoder) -> list[str]:
    """What the graphs of this encoder take."""
    names = ["input_ids", "attention_mask"]
    return names if model.embeddings.token_type is None else [*names, "token_type_ids"]


def finish(g: Graph, model: Encoder, x: str, note: str) -> onnx.ModelProto:
    """The model that gives its head's outputs on x: [batch, hidden], or [batch, tokens, hidden] for questions."""
    task = TASKS[model.config.task]
    width: str | int = "tokens" if task.per_token else model.config.labels
    outputs = {name: ["batch", width] for name in task.outputs}
    _head(g, model.head, x, model.config.head_activation, list(outputs))
    return g.model(input_names(model), outputs, note)


def embeddings(g: Graph, module: Embeddings, small: bool = False) -> str:
    """[batch, tokens, hidden]. small: words are stored as int8 with a scale a row."""
    words = (_small_table if small else _table)(g, "embeddings.word", module.word.weight, "input_ids")
    if module.counts_padding:
        length = g.op("Shape", "embeddings.length", "input_ids", start=1, end=2)
        table = g.constant("embeddings.position.table", module.position.weight)
        start, axis = g.constant("embeddings.from", [0]), g.constant("embeddings.axis", [0])
        positions = g.op("Slice", "embeddings.position", table, start, length, axis)
    else:
        pad = g.constant("embeddings.pad", np.int64(module.pad_id))
        padding = g.op("Equal", "embeddings.padding", "input_ids", pad)
        real = g.op("Cast", "embeddings.real", g.op("Not", "embeddings.tokens", padding), to=TensorProto.INT64)
        count = g.op("CumSum", "embeddings.count", real, g.constant("one", np.int64(1)))
        index = g.op("Add", "embeddings.index", g.op("Mul", "embeddings.counted", count, real), pad)
        positions = _table(g, "embeddings.position", module.position.weight, index)
    x = g.op("Add", "embeddings.sum", words, positions)
    if module.token_type is not None:
        types = _table(g, "embeddings.token_type", module.token_type.weight, "token_type_ids")
        x = g.op("Add", "embeddings.typed", x, types)
    x = layer_norm(g, "embeddings.norm", module.norm, x)
    if module.projection is None:
        return x
    weight = g.constant("embeddings.projection.weight", module.projection.weight.T)
    bias = g.constant("embeddings.projection.bias", module.projection.bias)
    return g.op("Add", "embeddings.projection", g.op("MatMul", "embeddings.widened", x, weight), bias)


def _table(g: Graph, name: str, weight: Tensor, index: str) -> str:
    """Look rows up; a table that float16 holds exactly is stored so, which halves its size for nothing."""
    if not _halves(weight):
        return g.op("Gather", name, g.constant(f"{name}.table", weight), index, axis=0)
    rows = g.op("Gather", f"{name}.half", g.constant(f"{name}.table", weight.detach().half()), index, axis=0)
    return g.op("Cast", name, rows, to=TensorProto.FLOAT)


def _halves(weight: Tensor) -> bool:
    return torch.equal(weight.detach().half().float(), weight.detach().float())


def table_bytes(weight: Tensor) -> int:
    """What a table takes in a form in float32."""
    return weight.numel() * (2 if _halves(weight) else 4)


def _small_table(g: Graph, name: str, weight: Tensor, index: str) -> str:
    """Look rows of int8 up, and their scales."""
    whole, scale = quantised(weight, 8)
    rows = g.op("Gather", f"{name}.whole", g.constant(f"{name}.table", whole), index, axis=0)
    scales = g.op("Gather", f"{name}.scale", g.constant(f"{name}.scales", scale[:, np.newaxis]), index, axis=0)
    return g.op("Mul", name, g.op("Cast", f"{name}.float", rows, to=TensorProto.FLOAT), scales)


def _head(g: Graph, head: Head, x: str, activation: str | None, outputs: Sequence[str]) -> None:
    if head.dense is not None and activation is not None:
        x = activate(g, "head.activation", activation, matrix(g, "head.dense", head.dense.chain(), x))
        g.op("Identity", outputs[0], matrix(g, "head.output", head.output.chain(), x))
        return
    product = g.op("MatMul", "head.product", x, g.constant("head.output.weight", head.output.weight.T))
    both = g.op("Add", "head.output", product, g.constant("head.output.bias", head.output.bias))
    for index, name in enumerate(outputs):
        g.op("Gather", name, both, g.constant(f"head.{name}", np.int64(index)), axis=2)


def matrix(g: Graph, name: str, chain: Chain, x: str) -> str:
    """[batch, in] -> [batch, out], dense."""
    *first, last = chain.products
    for n, one in enumerate(first):
        x, weight = _read(g, one, x, axis=1)
        x = g.op("Gemm", f"{name}.{n}", x, g.constant(f"{name}.{n}.weight", weight), transB=1)
    x, weight = _read(g, last, x, axis=1)
    w, b = g.constant(f"{name}.weight", weight), g.constant(f"{name}.bias", chain.bias)
    return g.op("Gemm", name, x, w, b, transB=1)


def product(g: Graph, name: str, chain: Chain, x: str, negated: bool = False) -> str:
    """[batch, tokens, in] -> [batch, tokens, out], without the bias."""
    *first, last = chain.products
    for n, one in enumerate(first):
        x, weight = _read(g, one, x, axis=2)
        x = g.op("MatMul", f"{name}.{n}", x, g.constant(f"{name}.{n}.weight", weight.T))
    x, weight = _read(g, last, x, axis=2)
    return g.op("MatMul", name, x, g.constant(f"{name}.weight", -weight.T if negated else weight.T))


def additive_mask(g: Graph) -> str:
    """[batch, 1, 1, tokens]: 0 where attended, -1e9 elsewhere."""
    mask = g.op("Cast", "mask.float", "attention_mask", to=TensorProto.FLOAT)
    hidden = g.op("Sub", "mask.hidden", mask, g.constant("mask.one", np.float32(1)))
    scaled = g.op("Mul", "mask.scaled", hidden, g.constant("mask.large", np.float32(1e9)))
    return g.op("Unsqueeze", "mask.bias", scaled, g.constant("mask.axes", [1, 2]))


def first_channels(g: Graph, x: str, count: int, axis: int) -> str:
    """The first channels of x along an axis; who reads as many of the same x shares one slice."""
    name = f"{x}.first.{count}"
    if any(node.name == name for node in g.nodes):
        return name
    start, end = g.constant("slice.start", [0]), g.constant(f"slice.end.{count}", [count])
    return g.op("Slice", name, x, start, end, g.constant(f"slice.axis.{axis}", [axis]))


def _read(g: Graph, one: Product, x: str, axis: int) -> tuple[str, Tensor]:
    """What a product reads of x, with its matrix over that, [out, read]."""
    if not one.one_block or one.prefix in (None, one.in_features):
        return x, one.to_dense()
    return first_channels(g, x, one.blocks.shape[2], axis), one.blocks[0]


def layer_norm(g: Graph, name: str, norm: nn.LayerNorm, x: str) -> str:
    """Over the last axis."""
    scale, shift = g.constant(f"{name}.scale", norm.weight), g.constant(f"{name}.shift", norm.bias)
    return g.op("LayerNormalization", name, x, scale, shift, axis=-1, epsilon=float(norm.eps))


def biased_activation(g: Graph, name: str, bias_of: Tensor, activation: str, x: str) -> str:
    """The activation of x plus the bias of the map that gave it."""
    bias = g.constant(f"{name}.ffn_in.bias", bias_of)
    if activation == "gelu":
        return g.op("BiasGelu", f"{name}.activation", x, bias, domain=CONTRIB)
    return activate(g, f"{name}.activation", activation, g.op("Add", f"{name}.inner", x, bias))


def activate(g: Graph, name: str, activation: str, x: str) -> str:
    """An activation, by the config's name."""
    kind, domain = OPERATORS[activation]
    return g.op(kind, name, x, domain=domain)
