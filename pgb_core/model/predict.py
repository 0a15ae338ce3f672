"""Computes logits of a PyTorch model in the same shape as a runtime gives those of an artifact."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pgb_core.artifact import INPUTS
from pgb_core.inference.batches import Predict
from pgb_core.inference.runtimes.base import pad
from pgb_core.inference.tasks import TASKS
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.model.encoder import Encoder


def torch_predictor(model: Encoder) -> Predict:
    """The model, dense or compact, on its own device and in its own precision; logits are float32."""
    device = next(model.parameters()).device
    task, pad_id = TASKS[model.config.task], model.config.pad_id

    def predict(batch: Sequence[Tokens]) -> list[Logits]:
        arrays = pad(batch, pad_id)
        with torch.no_grad():
            inputs = [torch.from_numpy(arrays[name]).to(device) for name in INPUTS]
            logits: Logits = model(*inputs).float().cpu().numpy()
        return task.unpadded(logits, batch)

    return predict
