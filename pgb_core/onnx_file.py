"""Reads the tensors of an ONNX file from the protobuf format directly: the service does not install `onnx`.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# message -> field number -> message that stands in it, for all that can lead to a tensor
_INSIDE: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
_DIMS, _NAME, _EXTERNAL_DATA, _DATA_LOCATION = 1, 8, 13, 14


@dataclass
class GraphFacts:
    """external: whether a tensor's values lie in another file. shapes: of named tensors."""

    external: bool = False
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def read_graph(path: Path) -> GraphFacts:
    """Walk a whole file. Raises ValueError when it is no protobuf."""
    facts = GraphFacts()
    if not path.stat().st_size:
        raise ValueError("the file is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        waiting = [("Model", 0, len(content))]
        while waiting:
            kind, begin, end = waiting.pop()
            if kind == "Tensor":
                _tensor(content, begin, end, facts)
                continue
            for number, _, first, last in _fields(content, begin, end):
                inner = _INSIDE[kind].get(number)
                if inner:
                    waiting.append((inner, first, last))
    return facts


def _tensor(content: mmap.mmap, begin: int, end: int, facts: GraphFacts) -> None:
    dims: list[int] = []
    name = ""
    for number, value, first, last in _fields(content, begin, end):
        if number == _DIMS and first == last:
            dims.append(value)
        elif number == _DIMS:  # packed
            at = first
            while at < last:
                size, at = _varint(content, at, last)
                dims.append(size)
        elif number == _NAME:
            name = content[first:last].decode("utf-8", "replace")
        elif number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
            facts.external = True
    facts.shapes[name] = tuple(dims)


def _fields(content: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, its value if it is a number, and where its bytes begin and end."""
    at = begin
    while at < end:
        key, at = _varint(content, at, end)
        number, wire = key >> 3, key & 7
        value, first, last = 0, at, at
        if wire == _VARINT:
            value, at = _varint(content, at, end)
        elif wire == _BYTES:
            size, first = _varint(content, at, end)
            last = at = first + size
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError("not a protobuf")
        if at > end:
            raise ValueError("cut short")
        yield number, value, first, last


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("cut short")
