"""Batches to learn from, of few widths.

oneDNN compiles a kernel for each shape of a matrix product, and holds 1,024 of them. A step of training has about a
hundred products. If batches were as wide as their longest input, nearly every step would have shapes of its own: it
would wait for its kernels, and push those of others out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pgb_core.tasks import features as inputs
from pgb_core.tasks.features import Batch, Features, collate

PARTS = 4  # widths between a power of two and the next one


class Shape(Protocol):
    """What of a model decides how its inputs are padded."""

    @property
    def pad_id(self) -> int:
        """Of the padding token."""

    @property
    def max_length(self) -> int:
        """Tokens of its longest input."""


def width(length: int) -> int:
    """Tokens that an input is padded to: the next of few widths, such as 64, 80, 96, 112, 128, 160."""
    step = max(1, (1 << (length - 1).bit_length()) // (2 * PARTS))
    return -(-length // step) * step


def grouped(features: Sequence[Features], tokens: int, seed: int | None = None) -> list[list[Features]]:
    """The inputs of each batch, at most `tokens` padded tokens each; see `pgb_core.tasks.features.grouped`."""
    return inputs.grouped(features, tokens, seed, width)


def batch_of(group: Sequence[Features], model: Shape) -> Batch:
    """A group's batch, padded to one of the few widths, or to the model's longest input."""
    longest = max(len(item.ids) for item in group)
    return collate(group, model.pad_id, min(width(longest), model.max_length))
