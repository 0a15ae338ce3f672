"""Logits of many inputs, by whatever computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pgb_core.model.encoder import Encoder
from pgb_core.tasks.features import Batch, Features, batches

Predict = Callable[[Batch], NDArray[np.float32]]
Progress = Callable[[int], None]


def torch_predictor(model: Encoder) -> Predict:
    """The model on its own device, in float32: logits [batch, labels], or [batch, tokens, 2]."""
    device = next(model.parameters()).device

    def predict(batch: Batch) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = model(*batch.to(device).inputs).float().cpu().numpy()
            return logits

    return predict


def run(
    predict: Predict, features: Sequence[Features], pad_id: int, tokens: int = 4096, progress: Progress = lambda n: None
) -> list[NDArray[np.float32]]:
    """Logits of each feature, in the order given; span scores keep only the feature's own tokens."""
    position = {id(feature): n for n, feature in enumerate(features)}
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(features)
    for batch in batches(features, tokens, pad_id):
        logits = predict(batch)
        for row, feature in zip(logits, batch.features, strict=True):
            found[position[id(feature)]] = row[: len(feature.ids)] if logits.ndim == 3 else row
        progress(len(batch.features))
    return found


def runner(
    predict: Predict, pad_id: int, progress: Progress = lambda n: None
) -> Callable[[Sequence[Features]], list[NDArray[np.float32]]]:
    """`run` of one model, which needs the inputs alone."""
    return lambda features: run(predict, features, pad_id, progress=progress)
