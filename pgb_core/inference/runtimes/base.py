"""What a runtime must offer, and what all of them do with a batch: pad it, run it, and separate the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pgb_core.artifact import FP32
from pgb_core.inference.tasks.base import Logits, Task
from pgb_core.inference.tokens import Tokens


@dataclass(frozen=True)
class Setup:
    """How a runtime is to run a model.

    form: which of the artifact's. device: cpu, cuda, or auto, which takes CUDA where the runtime has it. threads: 0
    takes all usable cores.
    """

    form: str = FP32
    device: str = "cpu"
    threads: int = 0


class Runtime(Protocol):
    """Runs one model. Called from one thread at a time.

    device: cpu or cuda, where it really runs. threads: of its own, on the CPU.
    """

    device: str
    threads: int

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """Logits of each input: [labels], or [tokens, 2] of a span model, without padding."""

    def stop(self) -> None:
        """Let what runs end early, if the runtime can. Called from another thread, when nobody waits any more."""

    def close(self) -> None:
        """Give back what it holds."""


def pad(batch: Sequence[Tokens], pad_id: int, width: int = 0) -> dict[str, NDArray[np.int64]]:
    """Right-padded int64 arrays [batch, tokens], by the graphs' input names. width: tokens that they have at least."""
    width = max(width, *(len(tokens) for tokens in batch))
    ids = np.full((len(batch), width), pad_id, np.int64)
    mask = np.zeros((len(batch), width), np.int64)
    types = np.zeros((len(batch), width), np.int64)
    for row, tokens in enumerate(batch):
        size = len(tokens)
        ids[row, :size] = tokens.ids
        mask[row, :size] = 1
        types[row, :size] = tokens.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def unpad(task: Task, outputs: Sequence[Logits], batch: Sequence[Tokens]) -> list[Logits]:
    """Undo `pad` in a graph's outputs, [batch, ...] each.

    Raises ArithmeticError as `check_finite`.
    """
    check_finite(outputs)
    return task.unpadded(task.joined(outputs), batch)


def check_finite(outputs: Sequence[Logits]) -> None:
    """Raises ArithmeticError when an output is not finite, so that no answer is made of it."""
    if not all(np.isfinite(output).all() for output in outputs):
        raise ArithmeticError("the model gave what is not a number")
