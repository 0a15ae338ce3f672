"""What is known of a form: how a compact model becomes one graph file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from pgb_core.model.encoder import Encoder


@dataclass(frozen=True)
class Form:
    """One way to write a graph.

    build: from a model to its graph. numbers: that its products are computed in. tolerance: how far its logits may be
    from the model's, as a share of the largest. baseline: the name under which a dense model in this form is timed, if
    it is.
    """

    name: str
    build: Callable[[Encoder], onnx.ModelProto]
    numbers: str = "float32"
    tolerance: float = 1e-4
    baseline: str | None = None
