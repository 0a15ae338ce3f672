"""Computes logits of a PyTorch model in the same shape as a runtime gives those of an artifact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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


def remembering(predict: Predict, most: int = 1 << 14) -> Predict:
    """The same, computing each input once. most: inputs whose logits are held, the first ones."""
    known: dict[bytes, Logits] = {}

    def run(batch: Sequence[Tokens]) -> list[Logits]:
        keys = [np.array([item.ids, item.types], np.int64).tobytes() for item in batch]
        missing = [n for n, key in enumerate(keys) if key not in known]
        new = dict(zip(missing, predict([batch[n] for n in missing]) if missing else [], strict=True))
        for n, logits in new.items():
            if len(known) < most:
                known[keys[n]] = np.array(logits)  # without the batch that it is a part of
        return [new[n] if n in new else known[key] for n, key in enumerate(keys)]

    return run
