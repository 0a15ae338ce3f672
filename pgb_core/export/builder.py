"""Builds an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET = 20
CONTRIB_OPSET = 1
CONTRIB = "com.microsoft"
IR_VERSION = 10


class Graph:
    """Nodes and initialisers in the making; every name is unique and says where it belongs."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, name: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node and return its only output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def several(self, kind: str, names: Sequence[str], *inputs: str, **attributes: Any) -> list[str]:
        """Append a node of several outputs, called by the first of their names."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), name=names[0], **attributes))
        return list(names)

    def constant(self, name: str, value: Tensor | NDArray[Any] | np.generic | Sequence[int]) -> str:
        """Store a tensor; float64 becomes float32."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def _beyond(self, outputs: Container[str]) -> list[onnx.ValueInfoProto]:
        """Types of what operators beyond ONNX give, which nothing that infers types could know: floats all."""
        given = [name for node in self.nodes if node.domain == CONTRIB for name in node.output if name not in outputs]
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in given if name]

    def model(self, inputs: Sequence[str], outputs: dict[str, list[str | int]], note: str) -> onnx.ModelProto:
        """Check and return the finished model."""
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            list(self.initializers.values()),
            value_info=self._beyond(outputs),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="pgb-serve", doc_string=note)
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model
