"""ONNX Runtime as the offline job uses it: to check, to score and to time a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from pgb_core.errors import ArtifactError
from pgb_core.model.predict import Predict
from pgb_core.tasks.features import Batch


def session_options(threads: int) -> Any:
    """One pool of so many threads, which sleep while they have nothing to do."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(model: bytes | str | Path, threads: int | None = None) -> Any:
    """A CPU session, by default on as many threads as PyTorch computes on here. Raises ArtifactError."""
    options = session_options(threads or torch.get_num_threads())
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, unexported classes
        raise ArtifactError(f"the graph does not load: {error}") from error


def predictor(session: Any) -> Predict:
    """Batch -> logits [batch, labels], or [batch, tokens, 2] of a span model. It raises ArtifactError."""
    names = [i.name for i in session.get_inputs()]

    def predict(batch: Batch) -> NDArray[np.float32]:
        feed = {name: getattr(batch, name).cpu().numpy() for name in names}
        try:
            found = session.run(None, feed)
        except Exception as error:  # onnxruntime raises its own, unexported classes
            raise ArtifactError(
                f"the graph fails on an input of {batch.input_ids.shape[1]} tokens with ids up to "
                f"{int(batch.input_ids.max())}; make the artifact again"
            ) from error
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)

    return predict
