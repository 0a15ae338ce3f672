"""Fixed attention in a graph: slices, means, and one product with a matrix of weights for what lies to one side.

`pgb_core.model.patterns` defines what each pattern attends to. The graph needs only the mask and the length of the
input.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from pgb_core.export.builder import Graph
from pgb_core.plan import Pattern

OF_FIRST_TOKEN = {Pattern.CURRENT, Pattern.PREVIOUS, Pattern.LEFT, Pattern.START}  # what the first token reads, then


def fixed_attention(g: Graph, name: str, pattern: Pattern, value: str, axis: int, first: bool) -> str:
    """The value of some heads, mixed over tokens by their pattern; of the first token alone, if so asked.

    value: [batch, tokens, channels] with axis 1, or [batch, channels, tokens] with axis 2. The tokens stay on their
    axis, one of them with `first`.
    """
    if pattern is Pattern.START or (first and pattern in OF_FIRST_TOKEN):
        found = _cut(g, f"{name}.first", value, axis, 0, 1)
        return found if first else _everywhere(g, name, found, value)
    if pattern is Pattern.CURRENT:
        return value
    if pattern in (Pattern.UNIFORM, Pattern.END):
        found = _mixed(g, f"{name}.mixed", _row(g, pattern, axis), value, axis)
        return found if first else _everywhere(g, name, found, value)
    if pattern.context:
        weights = _context(g, pattern, axis)
        if first:
            # What the first token attends to is a row of the matrix, and where that is transposed a column.
            weights = _cut(g, f"{name}.weights", weights, axis, 0, 1)
        return _mixed(g, name, weights, value, axis)
    found = _shifted(g, name, pattern, value, axis)
    return _cut(g, f"{name}.first", found, axis, 0, 1) if first else found


def _shifted(g: Graph, name: str, pattern: Pattern, value: str, axis: int) -> str:
    """The token before or behind; the token itself where there is none."""
    back = pattern is Pattern.PREVIOUS
    pads = [0] * 6
    pads[axis + (0 if back else 3)] = 1
    wider = g.op("Pad", f"{name}.padded", value, g.constant(f"pattern.{pattern}.{axis}", pads), mode="edge")
    if back:
        return _cut(g, name, wider, axis, 0, -1)
    behind = _cut(g, f"{name}.behind", wider, axis, 1, np.iinfo(np.int64).max)
    return g.op("Where", name, _unsqueezed(g, "pattern.is_last", _is_last(g), 3 - axis), value, behind)


def _mixed(g: Graph, name: str, weights: str, value: str, axis: int) -> str:
    return g.op("MatMul", name, *((weights, value) if axis == 1 else (value, weights)))


def _everywhere(g: Graph, name: str, one: str, value: str) -> str:
    """What all tokens read alike, for every token."""
    return g.op("Expand", name, one, g.op("Shape", f"{name}.shape", value))


def _cut(g: Graph, name: str, x: str, axis: int, start: int, end: int) -> str:
    ends = [g.constant(f"pattern.at.{value}", [value]) for value in (start, end)]
    return g.op("Slice", name, x, *ends, g.constant(f"pattern.axis.{axis}", [axis]))


def _once(g: Graph, name: str, write: Callable[[str], str]) -> str:
    """A node that all layers share, written where it is first asked for."""
    return name if any(node.name == name for node in g.nodes) else write(name)


def _unsqueezed(g: Graph, name: str, x: str, axis: int) -> str:
    axes = g.constant(f"pattern.axis.{axis}", [axis])
    return _once(g, f"{name}.{axis}", lambda name: g.op("Unsqueeze", name, x, axes))


def _number(g: Graph, value: int) -> str:
    return g.constant(f"pattern.{value}", np.int64(value))


def _place(g: Graph) -> str:
    """[1, tokens]: 0, 1, 2 and so on."""

    def write(name: str) -> str:
        length = g.op("Shape", f"{name}.length", "attention_mask", start=1, end=2)
        scalar = g.op("Squeeze", f"{name}.tokens", length, g.constant("pattern.axis.0", [0]))
        line = g.op("Range", f"{name}.line", _number(g, 0), scalar, _number(g, 1))
        return g.op("Unsqueeze", name, line, g.constant("pattern.axis.0", [0]))

    return _once(g, "pattern.place", write)


def _count(g: Graph) -> str:
    """[batch, 1]: real tokens."""
    axes = g.constant("pattern.axis.1", [1])
    return _once(g, "pattern.count", lambda name: g.op("ReduceSum", name, "attention_mask", axes, keepdims=1))


def _last(g: Graph) -> str:
    """[batch, 1]: where the last real token stands."""
    return _once(g, "pattern.last", lambda name: g.op("Sub", name, _count(g), _number(g, 1)))


def _is_last(g: Graph) -> str:
    """[batch, tokens] of bool."""
    return _once(g, "pattern.last_token", lambda name: g.op("Equal", name, _place(g), _last(g)))


def _floats(g: Graph, name: str, x: str) -> str:
    return _once(g, name, lambda name: g.op("Cast", name, x, to=TensorProto.FLOAT))


def _row(g: Graph, pattern: Pattern, axis: int) -> str:
    """What every token attends to alike: [batch, 1, tokens] for axis 1, [batch, tokens, 1] for axis 2."""

    def mean(name: str) -> str:
        real = _floats(g, "pattern.real", "attention_mask")
        return g.op("Div", name, real, _floats(g, "pattern.count.float", _count(g)))

    uniform = pattern is Pattern.UNIFORM
    row = _once(g, "pattern.uniform", mean) if uniform else _floats(g, "pattern.end", _is_last(g))
    return _unsqueezed(g, row, row, axis)


def _context(g: Graph, pattern: Pattern, axis: int) -> str:
    """[1 or batch, tokens, tokens]: rows are of tokens that attend for axis 1, columns for axis 2."""
    matrix = _once(g, f"pattern.{pattern}", lambda name: _cubes(g, name, pattern))
    if axis == 1:
        return matrix
    return _once(g, f"{matrix}.columns", lambda name: g.op("Transpose", name, matrix, perm=[0, 2, 1]))


def _cubes(g: Graph, name: str, pattern: Pattern) -> str:
    """Weights that rise with the cube of the place, as a share of the furthest in reach: float16 has to hold them."""
    place = _place(g)
    if pattern is Pattern.RIGHT:
        place = g.op("Sub", f"{name}.place", _last(g), place)
    here, there = (_unsqueezed(g, f"{name}.{kind}", place, axis) for kind, axis in (("here", 2), ("there", 1)))
    one, two = _number(g, 1), _number(g, 2)
    above = g.op("Add", f"{name}.above", there, one)
    reach = g.op("Max", f"{name}.reach", g.op("Sub", f"{name}.below", here, one), one)
    floats = [g.op("Cast", f"{x}.float", x, to=TensorProto.FLOAT) for x in (above, reach)]
    limits = [g.constant(f"pattern.{value}.float", np.float32(value)) for value in (0, 1)]
    share = g.op("Clip", f"{name}.share", g.op("Div", f"{name}.ratio", *floats), *limits)
    cube = g.op("Mul", f"{name}.cube", g.op("Mul", f"{name}.square", share, share), share)
    seen = g.op("LessOrEqual", f"{name}.seen", there, g.op("Sub", f"{name}.limit", here, two))
    side = g.op("Where", f"{name}.side", seen, cube, limits[0])
    itself = g.op("Cast", f"{name}.itself", g.op("Equal", f"{name}.same", there, here), to=TensorProto.FLOAT)
    weights = g.op("Where", f"{name}.weights", g.op("Less", f"{name}.alone", here, two), itself, side)
    total = g.op("ReduceSum", f"{name}.total", weights, g.constant("axis.last", [-1]), keepdims=1)
    return g.op("Div", name, weights, total)
