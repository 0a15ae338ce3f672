"""Graphs for ONNX Runtime on a CPU, with products in int8.

Inputs that are neurons, or that are between the two products of a map, get one scale for each token, computed at run
time. Other inputs have one scale. If their range is known, the graph has that scale, so that an answer does not depend
on other inputs of its batch. Otherwise the scale is computed for the batch. One channel of the stream that is much
larger than the others would make the scale coarse for all. So channels are brought to similar sizes first.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from torch import Tensor

from pgb_core.export.builder import CONTRIB, Graph
from pgb_core.export.forms.token_major import Writer
from pgb_core.export.parts import activate
from pgb_core.export.ranges import Range, Ranges, step_and_zero
from pgb_core.model.blocks import Attention
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Chain, Product
from pgb_core.model.quantise import EVERYWHERE, quantised

# Neurons by activation, after division by the largest: the lowest, and what the divisor is at least for that to hold.
# GELU is never below -0.17.
GELU, ANY = (-0.25, 0.68), (-1.0, 1e-6)
RANGES = {"gelu": GELU, "gelu_new": GELU, "gelu_pytorch_tanh": GELU, "relu": (0.0, 1e-6)}


class Int8(Writer):
    """Weights of 7 bits, `MultiHeadAttention`.

    What is written to the stream is subtracted from it: an addition before a norm would be fused by the runtime into
    SkipLayerNormalization, whose kernel takes several times as long as the two operators apart.
    """

    note = "token-major, int8"
    small_tables = True
    negated = True

    def __init__(self, g: Graph, model: Encoder, ranges: Ranges) -> None:
        super().__init__(g, model, ranges)
        self.known: dict[str, tuple[np.float32, np.uint8]] = {}  # step and zero of what is always within their bytes
        self.mask = g.op("Cast", "mask.int32", "attention_mask", to=TensorProto.INT32)

    def product(self, name: str, weight: Tensor, bias: Tensor | None, x: str, seen: Range | None) -> str:
        """Quantise, multiply, scale, add the bias: by one operator where the range of x is not known before."""
        if self.exact(name):
            return self.plain(name, self.g.constant(f"{name}.weight", weight.T), bias, x)
        g, bytes_of = self.g, self.known.get(x)
        if bytes_of is None and seen is not None:
            weight, x, seen = self.evened(name, weight, x, seen)
            bytes_of = seen.scale
        whole, scale = quantised(weight, EVERYWHERE)
        weights = [g.constant(f"{name}.weight", whole.T), g.constant(f"{name}.scale", scale)]
        last = [] if bias is None else [g.constant(f"{name}.bias", bias)]
        if bytes_of is None:
            without_zero = ["", *last] if last else []
            return g.op("DynamicQuantizeMatMul", name, x, *weights, *without_zero, domain=CONTRIB)
        of_x = g.constant(f"{name}.step", bytes_of[0]), g.constant(f"{name}.zero", bytes_of[1])
        small = g.op("QuantizeLinear", f"{name}.input", x, *of_x)
        inputs = [small, weights[0], of_x[0], weights[1], of_x[1], *(["", *last] if last else [])]
        return g.op("MatMulIntegerToFloat", name, *inputs, domain=CONTRIB)

    def outer(self, name: str, chain: Chain, x: str) -> str:
        """Each token is divided by the largest of its neurons, which differ most between tokens, and multiplied again.

        So each has a scale of its own. Of all maps this one loses most by a scale for a whole batch.
        """
        if self.exact(name):
            return super().outer(name, chain, x)
        g = self.g
        scaled, largest = self.divided(name, x, *RANGES.get(self.activation, ANY))
        y = self.map(name, chain, scaled, biased=False, negated=self.negated)
        bias = g.constant(f"{name}.bias", -chain.bias if self.negated else chain.bias)
        return g.op("Add", f"{name}.biased", g.op("Mul", f"{name}.unscaled", y, largest), bias)

    def map(self, name: str, chain: Chain, x: str, biased: bool = True, negated: bool = False) -> str:
        """See Writer. Between two products each token is divided by its largest channel, and multiplied again."""
        *first, last = chain.products
        if not first or self.exact(name):
            return super().map(name, chain, x, biased, negated)
        g, divisors = self.g, []
        for n, one in enumerate(first):
            inner = self.blocks(f"{name}.{n}", one, None, x, reader="" if n else name)
            x, largest = self.divided(f"{name}.{n}", inner, *ANY)
            divisors.append(largest)
        sign = -1 if negated else 1
        y = self.blocks(name, last, None, x, sign)
        for n, largest in enumerate(divisors):
            y = g.op("Mul", f"{name}.{n}.unscaled", y, largest)
        return g.op("Add", f"{name}.rebiased", y, g.constant(f"{name}.bias", sign * chain.bias)) if biased else y

    def divided(self, name: str, x: str, low: float, least: float) -> tuple[str, str]:
        """Each token divided by the largest of its channels, and these divisors, at least `least`.

        low: the lowest value that is left, -1 where a channel may be as negative as positive.
        """
        g = self.g
        size = x if low > -1 else g.op("Abs", f"{name}.size", x)
        largest = g.op("ReduceMax", f"{name}.largest", size, g.constant("axis.last", [-1]), keepdims=1)
        largest = g.op("Max", f"{name}.divisor", largest, g.constant(f"least.{least:g}", np.float32(least)))
        scaled = g.op("Div", f"{name}.scaled", x, largest)
        self.known[scaled] = step_and_zero(low, 1.0)
        return scaled, largest

    def read(self, name: str, one: Product, block: int, x: str) -> str:
        """See Writer. Some channels are within the bytes of all."""
        found = super().read(name, one, block, x)
        if x in self.known:
            self.known[found] = self.known[x]
        return found

    def attend(self, name: str, a: Attention, query: str, key: str, value: str) -> str:
        """In float32, by one operator."""
        return self.g.op(
            "MultiHeadAttention",
            name,
            query,
            key,
            value,
            "",
            self.mask,
            domain=CONTRIB,
            num_heads=a.heads,
            scale=float(a.scale),
            mask_filter_value=-1e9,
        )

    def activated(self, name: str, chain: Chain, x: str) -> str:
        """A map and an activation. The bias belongs to the product: BiasGelu takes much longer than Gelu."""
        return activate(self.g, f"{name}.activation", self.activation, self.map(f"{name}.ffn_in", chain, x))
