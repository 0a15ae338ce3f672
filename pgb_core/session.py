"""Runs a graph in ONNX Runtime before it is an artifact, to compare it with PyTorch. Logits may be infinite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime
import torch

from pgb_core.errors import ArtifactError
from pgb_core.inference.batches import Predict
from pgb_core.inference.runtimes.base import pad
from pgb_core.inference.runtimes.onnx_runtime import session_options
from pgb_core.inference.tasks import TASKS
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.model.encoder import EncoderConfig


def open_session(graph: bytes, threads: int | None = None) -> Any:
    """A CPU session, by default on as many threads as PyTorch computes on here. Raises ArtifactError."""
    options = session_options(threads or torch.get_num_threads())
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, unexported classes
        raise ArtifactError(f"the graph does not load: {error}") from error


def predictor(session: Any, config: EncoderConfig) -> Predict:
    """What the session of a model's graph gives. It raises ArtifactError."""
    names = [i.name for i in session.get_inputs()]
    task = TASKS[config.task]

    def predict(batch: Sequence[Tokens]) -> list[Logits]:
        arrays = pad(batch, config.pad_id)
        try:
            found = session.run(None, {name: arrays[name] for name in names})
        except Exception as error:  # onnxruntime raises its own, unexported classes
            raise ArtifactError(
                f"the graph fails on an input of {arrays['input_ids'].shape[1]} tokens with ids up to "
                f"{arrays['input_ids'].max()}; make the artifact again"
            ) from error
        return task.unpadded(task.joined(found), batch)

    return predict
