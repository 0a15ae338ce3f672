"""The model and tokenizer of a checkpoint in transformers, for one text at a time, as a reference."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pgb_core.checkpoints.files import first_line
from pgb_core.checkpoints.tokenization import Tokenization
from pgb_core.errors import CheckpointError
from pgb_core.tasks import Task
from pgb_core.tasks.texts import Text

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """One input as transformers builds it, and what its model says: logits [labels], or [tokens, 2]."""

    ids: tuple[int, ...]
    types: tuple[int, ...]
    logits: Array


@dataclass(frozen=True)
class Probe:
    """A text or a pair, with every input that transformers makes of it: one, or a window each of a long context."""

    text: str
    pair: str | None
    answers: tuple[Answer, ...]


def run_probes(model: Any, reading: Tokenization, texts: Sequence[Text], task: Task) -> list[Probe]:
    """Run texts through transformers. Raises CheckpointError when it fails on one of them."""
    found = []
    for text, pair in texts:
        try:
            found.append(Probe(text, pair, tuple(_answers(model, reading, text, pair, task))))
        except BaseException as error:  # whatever a checkpoint that does not fit itself leads to, a panic in Rust too
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise CheckpointError(
                f"transformers itself fails on {quoted(text, pair)} with this checkpoint ({first_line(error)}); do its "
                "tokenizer and its model belong together?"
            ) from error
    return found


def quoted(text: str, pair: str | None) -> str:
    """A text or a pair in a message."""
    return f"the text {text[:30]!r}" if pair is None else f"the pair {text[:30]!r}, {pair[:30]!r}"


def _answers(model: Any, reading: Tokenization, text: str, pair: str | None, task: Task) -> list[Answer]:
    tokenizer, length = reading.reference, reading.max_length
    taken = inspect.signature(model.forward).parameters
    how: dict[str, Any] = {"truncation": True}
    if task.windows:
        how = {"truncation": "only_second", "return_overflowing_tokens": True}
    # As a batch of one: an empty second text is a pair there, and not in a call with one text.
    given = tokenizer([text], None if pair is None else [pair], max_length=length, **how)
    found = []
    for n, ids in enumerate(given["input_ids"]):
        inputs = {name: torch.tensor([given[name][n]]) for name in tokenizer.model_input_names if name in taken}
        if "token_type_ids" in inputs:  # a type without a row would end the run
            inputs["token_type_ids"].clamp_(max=reading.top_type)
        with torch.no_grad():
            said = model(**inputs, return_dict=True)
        logits = task.logits(said)
        types = given["token_type_ids"][n] if "token_type_ids" in given else [0] * len(ids)
        found.append(Answer(tuple(ids), tuple(types), logits[0].float().numpy()))
    return found
