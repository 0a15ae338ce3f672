"""Artifacts without their weights: small enough to carry from the machine that trains to the machine that times.

How long a graph runs depends on the shapes and the types of its weights, not on their values. `emptied` sets the large
ones to zero, and the files then pack to a hundredth; `filled` draws them at random, and says so in the manifest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from pgb_core.artifact import MANIFEST, sha256_of

LARGE = 1 << 14  # bytes of a weight whose values are left out: scales and biases are smaller
SPREAD = 0.02  # standard deviation of those that are drawn

Numbers = NDArray[np.generic]


def emptied(artifact: Path, out: Path) -> None:
    """Copy an artifact, with zeros for its large weights."""
    _copied(artifact, out, np.zeros_like)


def filled(artifact: Path, out: Path, seed: int = 0) -> None:
    """Copy an artifact, with random numbers for its large weights."""
    draw = np.random.default_rng(seed)

    def drawn(values: Numbers) -> Numbers:
        if values.dtype.kind in "iu":
            return np.frombuffer(draw.bytes(values.nbytes), values.dtype).reshape(values.shape)
        return draw.normal(0, SPREAD, values.shape).astype(values.dtype)

    _copied(artifact, out, drawn)


def _copied(artifact: Path, out: Path, new: Callable[[Numbers], Numbers]) -> None:
    shutil.copytree(artifact, out, copy_function=shutil.copyfile)
    manifest = json.loads((out / MANIFEST).read_text("utf-8"))
    for path in out.glob("*.onnx"):
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.ByteSize() >= LARGE and tensor.data_type != TensorProto.INT64:  # indices say which channel
                tensor.CopyFrom(numpy_helper.from_array(new(numpy_helper.to_array(tensor)), tensor.name))
        onnx.save(model, path)
        manifest["files"][path.name] = sha256_of(path)
    manifest["provenance"]["weights"] = "not those that were trained: for timing alone"
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
