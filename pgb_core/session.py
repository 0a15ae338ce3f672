"""ONNX Runtime as the offline job uses it: to check, to score and to time a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pgb_core.errors import ArtifactError
from pgb_core.features import Batch
from pgb_core.machine import usable_cores

Predict = Callable[[Batch], NDArray[np.float32]]


def open_session(model: bytes | str | Path, threads: int | None = None) -> Any:
    """A CPU session on as many threads as this process may use. Raises ArtifactError."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, unexported classes
        raise ArtifactError(f"the graph does not load: {error}") from error


def predictor(session: Any) -> Predict:
    """Batch -> logits [batch, labels], or [batch, tokens, 2] of a span model."""
    names = [i.name for i in session.get_inputs()]

    def predict(batch: Batch) -> NDArray[np.float32]:
        feed = {name: getattr(batch, name).cpu().numpy() for name in names}
        found = session.run(None, feed)
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)

    return predict
