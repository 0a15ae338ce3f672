"""Rows held back from a training: its states are compared on them, and the best one is kept instead of the last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pgb_core.tasks.features import Features

MOST = 512  # rows
PER_EPOCH = 0.01  # share of the rows, for each epoch: all measurements take at most 3% of the training's time
MOST_SHARE = 0.05  # of the rows
LEAST = 32  # rows, below which the loss says too little
STREAM = 7_919  # added to the seed, whose own first draws are the calibration rows
TIMES = 5  # of measurement, evenly over the second half of the training
TOKENS = 2048  # padded, of a pass of the student


def split(features: Sequence[Features], epochs: float, seed: int) -> tuple[list[Features], list[Features]]:
    """Inputs to learn from, and inputs held back. All inputs of one row stay together; the seed draws the rows.

    None are held back where they would be fewer than `LEAST` rows. Inputs that were made from others are never held
    back.
    """
    rows = sorted({item.row for item in features if item.row >= 0})
    count = min(MOST, int(min(PER_EPOCH * epochs, MOST_SHARE) * len(rows)))
    if count < LEAST:
        return list(features), []
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + STREAM)).tolist()
    held = {rows[n] for n in order[:count]}
    return [f for f in features if f.row not in held], [f for f in features if f.row in held]


class Best:
    """The best state of a training so far. steps: those after which it is measured; the last one is among them.

    loss and step: of the best state; last: the loss that was measured last.
    """

    def __init__(self, student: nn.Module, steps: int) -> None:
        self._weights = {name: p for name, p in student.named_parameters() if p.requires_grad}
        self._kept: dict[str, Tensor] = {}
        self.steps = frozenset(max(1, round(steps * (0.5 + 0.5 * n / (TIMES - 1)))) for n in range(TIMES))
        self.loss = self.last = math.inf
        self.step = 0

    def offer(self, step: int, loss: float) -> None:
        """The student as it is after a step; of equal states the first one is kept."""
        self.last = loss
        if loss < self.loss:
            self.loss, self.step = loss, step
            self._kept = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def put_back(self) -> None:
        """Give the student the best state."""
        with torch.no_grad():
            for name, weight in self._kept.items():
                self._weights[name].copy_(weight)

    def state(self) -> dict[str, Tensor]:
        """All that is known, as flat tensors."""
        said = torch.tensor([self.loss, self.last, self.step], dtype=torch.float64)
        return {"said": said, **{f"weight.{name}": weight for name, weight in self._kept.items()}}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `state`."""
        loss, last, step = tensors["said"].tolist()
        self.loss, self.last, self.step = loss, last, int(step)
        self._kept = {name: tensors[f"weight.{name}"].clone() for name in self._weights if f"weight.{name}" in tensors}
