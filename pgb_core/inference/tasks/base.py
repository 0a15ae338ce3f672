"""What every task defines for its graphs and its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pgb_core.artifact import writable
from pgb_core.inference.errors import InvalidInput
from pgb_core.inference.tokens import Tokens

Logits = NDArray[np.float32]
_MOST_SHARED = 128  # tokens, where a request does not say


class Task(Protocol):
    """A kind of question that a model answers.

    Preparing and decoding differ in what they take and give, so each task's file has functions of its own for them.
    name: as the manifest has it. outputs: what its graphs give.
    """

    name: str
    outputs: tuple[str, ...]

    def shape(self, tokens: int, labels: int) -> tuple[int, ...]:
        """The shape of the logits of one input of so many tokens, by a model of so many labels."""

    def joined(self, outputs: Sequence[Logits]) -> Logits:
        """A graph's outputs for a padded batch as one array, [batch, ...]."""

    def unpadded(self, logits: Logits, batch: Sequence[Tokens]) -> list[Logits]:
        """The logits of each input of a batch, cut out of what the model gave for all of it, padded. No copies."""

    def check(self, inputs: Sequence[tuple[str, ...]]) -> None:
        """inputs: the texts of each. Raises InvalidInput for what no model of the task can be asked."""


def shared_tokens(length: int, stride: int | None) -> int:
    """Tokens that neighbouring windows of a length share: the stride, by default half of a window, at most 128."""
    return min(length // 2, _MOST_SHARED) if stride is None else stride


def check_text(text: str) -> None:
    """Raises InvalidInput for a text that is not Unicode."""
    if not writable(text):
        raise InvalidInput("a text holds half of a surrogate pair; send whole characters")
