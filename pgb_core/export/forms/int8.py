"""ONNX Runtime on a CPU, products in int8: inputs are quantised as they come, a scale for all of a batch."""

from __future__ import annotations

from onnx import TensorProto
from torch import Tensor

from pgb_core.export.builder import CONTRIB, Graph
from pgb_core.export.forms.token_major import Writer
from pgb_core.export.parts import activate
from pgb_core.model.blocks import Attention
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Chain
from pgb_core.model.quantize import EVERYWHERE, quantized


class Int8(Writer):
    """Weights of 7 bits, `MultiHeadAttention`.

    What is written to the stream is subtracted from it: an addition before a norm would be fused by the runtime into
    SkipLayerNormalization, whose kernel takes several times as long as the two operators apart.
    """

    note = "token-major, int8"
    small_tables = True
    negated = True

    def __init__(self, g: Graph, model: Encoder) -> None:
        super().__init__(g, model)
        self.mask = g.op("Cast", "mask.int32", "attention_mask", to=TensorProto.INT32)

    def product(self, name: str, weight: Tensor, bias: Tensor | None, x: str) -> str:
        """One operator: quantise, multiply, scale, add the bias."""
        whole, scale = quantized(weight, EVERYWHERE)
        g = self.g
        inputs = [x, g.constant(f"{name}.weight", whole.T), g.constant(f"{name}.scale", scale)]
        if bias is not None:
            inputs += ["", g.constant(f"{name}.bias", bias)]  # without a zero point
        return g.op("DynamicQuantizeMatMul", name, *inputs, domain=CONTRIB)

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
