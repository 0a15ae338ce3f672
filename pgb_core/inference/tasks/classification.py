"""Classification: from one text or a pair of texts to labels with scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgb_core.inference.tasks.base import Logits, shared_tokens
from pgb_core.inference.tokens import Tokens

POOLS = ("mean", "max")


@dataclass(frozen=True)
class Labelling:
    """How texts are labelled.

    activation: None takes the model's. top_k: None gives all labels. truncate: cut a text that is too long, or
    refuse it. side: the end that is cut; None takes the model's. max_length: tokens, where it is less than the model
    takes. pool: read a text that is too long in windows of `max_length`, and take the mean or the largest of their
    logits, label by label; of these windows neighbours share `stride` tokens, by default half of one, at most 128.
    """

    activation: str | None = None
    top_k: int | None = None
    truncate: bool = True
    side: str | None = None
    max_length: int | None = None
    pool: str | None = None
    stride: int | None = None

    @property
    def idle(self) -> str | None:
        """Why one of the options would change nothing beside the others; None where each acts."""
        if self.pool is None:
            return None if self.stride is None else "stride is for windows, which pool asks for"
        if not self.truncate:
            return "truncate refuses a text that is too long, and pool reads it in windows; leave one of them out"
        return None if self.side is None else "side says which end is cut, and pool cuts nothing; leave one of them out"

    def shared(self, length: int) -> int:
        """Tokens that neighbouring windows of that length share."""
        return shared_tokens(length, self.stride)


@dataclass(frozen=True)
class Score:
    """A label and its score."""

    label: str
    score: float


def activate(logits: NDArray[np.float32] | NDArray[np.float64], activation: str) -> NDArray[np.float64]:
    """softmax, sigmoid or none over the last axis; exact at extreme logits."""
    values = logits.astype(np.float64)
    if activation == "softmax":
        powers = np.exp(values - np.maximum.reduce(values, -1, keepdims=True))
        return np.asarray(powers / np.add.reduce(powers, -1, keepdims=True))
    if activation == "sigmoid":
        decay = np.exp(-np.abs(values))
        return np.asarray(np.where(values >= 0, 1.0, decay) / (1.0 + decay))
    return values


def pooled(logits: Sequence[NDArray[np.float32]], pool: str) -> NDArray[np.float32]:
    """One row of logits from those of the windows of a text: their mean, or the largest of each label."""
    return np.asarray(np.max(logits, 0) if pool == "max" else np.mean(logits, 0, dtype=np.float64), np.float32)


def ranked(
    logits: Sequence[NDArray[np.float32]], labels: Sequence[str], activation: str, top_k: int | None
) -> list[list[Score]]:
    """Scores of each input, highest first; equal scores in label order. logits: [labels] of each."""
    places = range(len(labels))
    return [
        [Score(labels[n], row[n]) for n in sorted(places, key=row.__getitem__, reverse=True)[:top_k]]
        for row in activate(np.asarray(logits), activation).tolist()
    ]


class Classification:
    """See `Task`. A graph gives one output, [batch, labels]."""

    name = "classification"
    outputs: tuple[str, ...] = ("logits",)

    def shape(self, tokens: int, labels: int) -> tuple[int, ...]:
        """[labels]."""
        return (labels,)

    def joined(self, outputs: Sequence[Logits]) -> Logits:
        """The only one."""
        return outputs[0]

    def unpadded(self, logits: Logits, batch: Sequence[Tokens]) -> list[Logits]:
        """[labels] of each; padding has none."""
        return list(logits)

    def check(self, inputs: Sequence[tuple[str, ...]]) -> None:
        """Any text can be labelled, an empty one too."""


CLASSIFICATION = Classification()
