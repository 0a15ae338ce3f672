"""Graphs for OpenVINO on a CPU: only ONNX operators, and 3-D products with constant weights."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pgb_core.export.builder import Graph
from pgb_core.export.forms.token_major import Writer
from pgb_core.export.parts import additive_mask
from pgb_core.export.ranges import Range, Ranges
from pgb_core.model.blocks import Attention
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Chain
from pgb_core.model.quantise import EVERYWHERE, quantised

PLAIN = {"gelu": ("Gelu", "none"), "gelu_new": ("Gelu", "tanh"), "gelu_pytorch_tanh": ("Gelu", "tanh")}


class OpenVino(Writer):
    """Weights in float32, which the runtime turns into what it computes in."""

    note = "token-major, plain"

    def __init__(self, g: Graph, model: Encoder, ranges: Ranges) -> None:
        super().__init__(g, model, ranges)
        self.mask = additive_mask(g)

    def product(self, name: str, weight: Tensor, bias: Tensor | None, x: str, seen: Range | None) -> str:
        """A product with a constant, and a sum."""
        return self.plain(name, self.g.constant(f"{name}.weight", weight.T), bias, x)

    def attend(self, name: str, a: Attention, query: str, key: str, value: str) -> str:
        """Spelled out; the runtime makes one operator of it."""
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
        return g.op("Reshape", name, mixed, g.constant(f"width.{a.widths[0]}", [0, 0, a.widths[0]]))

    def activated(self, name: str, chain: Chain, x: str) -> str:
        """A map and an activation."""
        inner = self.map(f"{name}.ffn_in", chain, x)
        if self.activation in PLAIN:
            kind, approximate = PLAIN[self.activation]
            return self.g.op(kind, f"{name}.activation", inner, approximate=approximate)
        return self.g.op(self.activation.capitalize(), f"{name}.activation", inner)


class OpenVinoInt8(OpenVino):
    """Inputs of known range have one scale, and weights 7 bits, which are right on CPUs without VNNI too.

    Where no range is known, and for neurons, the runtime computes scales as inputs come, one for some channels of a
    token; it does so for weights of 8 bits.
    """

    note = "token-major, plain, int8"
    small_tables = True

    def product(self, name: str, weight: Tensor, bias: Tensor | None, x: str, seen: Range | None) -> str:
        """The input as the runtime reads a quantised one, and the weight as it reads one that is to stay in int8."""
        if self.exact(name):
            return super().product(name, weight, bias, x, seen)
        g, bits = self.g, 8
        if seen is not None:
            bits = EVERYWHERE
            weight, x, seen = self.evened(name, weight, x, seen)
            scale, zero = seen.scale
            of_x = g.constant(f"{name}.step", scale), g.constant(f"{name}.zero", zero)
            x = g.op("QuantizeLinear", f"{name}.small", x, *of_x)
            x = g.op("DequantizeLinear", f"{name}.input", x, *of_x)
        whole, scales = quantised(weight, bits)
        stored = [g.constant(f"{name}.whole", whole.T), g.constant(f"{name}.scale", scales)]
        return self.plain(name, g.op("DequantizeLinear", f"{name}.weight", *stored, axis=1), bias, x)
