"""What every form defines: how a compact model becomes one graph file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from pgb_core.export.ranges import Ranges
from pgb_core.model.encoder import Encoder

Build = Callable[[Encoder, Ranges], onnx.ModelProto]


@dataclass(frozen=True)
class Limits:
    """What a low-precision form may lose to the PyTorch model before the export stops.

    equal: least share of inputs with the same answer. change: most that a probability may move, for 99 of 100 inputs.
    drop: most points of the task's metric.
    """

    equal: float = 0.8
    change: float = 0.6
    drop: float = 3.0


@dataclass(frozen=True)
class Form:
    """One way to write a model for a runtime.

    build: from a model, and the ranges of what its maps read, to its graph; without ranges every scale is computed as
    inputs come. None where the file is PyTorch's tensors. numbers: the number format of its products, such as
    float32 or int8. runtimes, devices: that run it, the usual one first. tolerance: how far its logits may be from its
    check's wherever it is loaded, as a share of the largest. limits: of a form in low precision; a form without has to
    give the model's own logits. dense: devices on which the dense model in this form is timed beside an artifact: those
    where it may be the fastest.
    """

    name: str
    build: Build | None
    numbers: str
    runtimes: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    tolerance: float = 1e-3
    limits: Limits | None = None
    dense: tuple[str, ...] = ("cpu",)
