"""OpenVINO on a CPU: operators of ONNX alone, 3-D products with constant weights."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pgb_core.export.builder import Graph
from pgb_core.export.forms.token_major import Writer, additive_mask
from pgb_core.model.blocks import Attention
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Chain
from pgb_core.model.quantize import quantized

PLAIN = {"gelu": ("Gelu", "none"), "gelu_new": ("Gelu", "tanh"), "gelu_pytorch_tanh": ("Gelu", "tanh")}


class OpenVino(Writer):
    """Weights in float32, which the engine turns into what it computes in."""

    note = "token-major, plain"

    def __init__(self, g: Graph, model: Encoder) -> None:
        super().__init__(g, model)
        self.mask = additive_mask(g)

    def weight(self, name: str, weight: Tensor) -> str:
        """[in, out]."""
        return self.g.constant(f"{name}.weight", weight.T)

    def product(self, name: str, weight: Tensor, bias: Tensor | None, x: str) -> str:
        """A product with a constant, and a sum."""
        y = self.g.op("MatMul", f"{name}.product" if bias is not None else name, x, self.weight(name, weight))
        return y if bias is None else self.g.op("Add", name, y, self.g.constant(f"{name}.bias", bias))

    def attend(self, name: str, a: Attention, query: str, key: str, value: str) -> str:
        """Spelled out; the engine makes one operator of it."""
        g = self.g
        shape = g.constant(f"heads.{a.heads}", [0, 0, a.heads, -1])

        def split(kind: str, source: str, order: list[int]) -> str:
            return g.op(
                "Transpose", f"{name}.{kind}", g.op("Reshape", f"{name}.{kind}.heads", source, shape), perm=order
            )

        q, k, v = split("q", query, [0, 2, 1, 3]), split("k", key, [0, 2, 3, 1]), split("v", value, [0, 2, 1, 3])
        q = g.op("Mul", f"{name}.scaled", q, g.constant(f"{name}.scale", np.float32(a.scale)))
        scores = g.op("Add", f"{name}.masked", g.op("MatMul", f"{name}.scores", q, k), self.mask)
        mixed = g.op("MatMul", f"{name}.out", g.op("Softmax", f"{name}.weights", scores, axis=-1), v)
        mixed = g.op("Transpose", f"{name}.tokens", mixed, perm=[0, 2, 1, 3])
        return g.op("Reshape", name, mixed, g.constant(f"width.{a.value.out_features}", [0, 0, a.value.out_features]))

    def activated(self, name: str, chain: Chain, x: str) -> str:
        """A map and an activation."""
        inner = self.map(f"{name}.ffn_in", chain, x)
        if self.activation in PLAIN:
            kind, approximate = PLAIN[self.activation]
            return self.g.op(kind, f"{name}.activation", inner, approximate=approximate)
        return self.g.op(self.activation.capitalize(), f"{name}.activation", inner)


class OpenVinoInt8(OpenVino):
    """Weights of 8 bits. The engine quantises what it multiplies them with, a scale for some channels of a token."""

    note = "token-major, plain, int8"
    small_tables = True

    def weight(self, name: str, weight: Tensor) -> str:
        """[in, out], as the engine expects weights that it is to keep in int8."""
        whole, scale = quantized(weight, 8)
        g = self.g
        stored = [g.constant(f"{name}.whole", whole.T), g.constant(f"{name}.scale", scale)]
        return g.op("DequantizeLinear", f"{name}.weight", *stored, axis=1)
