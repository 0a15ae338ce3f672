"""Converts a float32 graph to float16, with outputs in float32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# What is added where nothing is attended: beyond this float16 has no numbers to scale with.
MASKED = 1e4


def float16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph: constants, casts and what they give become float16, and every output is cast back."""
    graph = proto.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = np.clip(numpy_helper.to_array(tensor), -MASKED, MASKED).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for told in graph.value_info:
        told.type.tensor_type.elem_type = TensorProto.FLOAT16
    outputs = {output.name: f"{output.name}.half" for output in graph.output}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
        for n, name in enumerate(node.output):
            node.output[n] = outputs.get(name, name)
    for name, half in outputs.items():
        graph.node.append(helper.make_node("Cast", [half], [name], name=f"{name}.float", to=TensorProto.FLOAT))
    proto.doc_string += ", float16"
    onnx.checker.check_model(proto)
    return proto
