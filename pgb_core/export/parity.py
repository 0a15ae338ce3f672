"""Checks that transformers, the PyTorch model and the graph give the same logits for the same text.

The allowed difference is a share of the size of the logits. float32 keeps about seven digits, so logits near a thousand
may differ by more than logits near one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgb_core.checkpoints.config import unread_settings
from pgb_core.checkpoints.reference import Probe, quoted
from pgb_core.checkpoints.tokenization import SETTINGS, Tokenization, encode
from pgb_core.errors import CheckpointError, ParityError
from pgb_core.inference.batches import Predict, run_all
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.session import open_session, predictor
from pgb_core.tasks import Task
from pgb_core.tasks.features import Features

TOLERANCE = 1e-4  # of the largest logit
SMALLEST = 1e-3  # logits below this are all noise of the sums that they come from
MOST_INPUTS = 256

Logits = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Parity:
    """How near two ways of computing the same logits are.

    max_difference: largest absolute difference, infinite where a logit is not finite; allowed: the largest that would
    pass; same_answers: inputs of which the highest logit is the same.
    """

    inputs: int
    max_difference: float
    allowed: float
    same_answers: int


def parity_of(want: Logits, got: Logits, tolerance: float = TOLERANCE) -> Parity:
    """Logits of the same inputs, by two ways: [labels], or [tokens, 2], each. tolerance: a share of the largest."""
    size = max((float(np.abs(a).max()) for a in want if a.size and np.isfinite(a).all()), default=0.0)
    allowed = tolerance * max(size, SMALLEST)
    gaps = [float(np.abs(a - b).max()) for a, b in zip(want, got, strict=True) if a.size]
    difference = max(gaps, default=0.0) if all(map(math.isfinite, gaps)) else math.inf
    same = sum(_answer(a) == _answer(b) for a, b in zip(want, got, strict=True))
    return Parity(len(want), difference, allowed, same)


def check_graph(
    model: Encoder, onnx_bytes: bytes, features: Sequence[Features], tolerance: float = TOLERANCE
) -> Parity:
    """The graph against PyTorch on up to 256 inputs, alone and in padded batches. Raises ParityError."""
    chosen = [feature.tokens for feature in features[:MOST_INPUTS]]
    predict = predictor(open_session(onnx_bytes), model.config)
    want = run_all(torch_predictor(model), chosen)
    got = run_all(predict, chosen)
    alone = chosen[:16]
    found = parity_of([*want, *want[: len(alone)]], [*got, *run_all(predict, alone, batch_tokens=1)], tolerance)
    same = parity_of(want, got, tolerance).same_answers
    if not found.max_difference <= found.allowed:
        raise ParityError(
            f"the exported graph differs from PyTorch by {found.max_difference:.1e}, more than {found.allowed:.1e} "
            f"({tolerance:.0e} of the largest logit); please report the checkpoint. What was done is kept"
        )
    return Parity(len(chosen), found.max_difference, found.allowed, same)


def inputs_of(probes: Sequence[Probe], reading: Tokenization, task: Task) -> list[Features]:
    """The probe texts as the artifact reads them. Raises CheckpointError where transformers reads them otherwise."""
    found: list[Features] = []
    for row, probe in enumerate(probes):
        inputs = encode(reading, probe.text, probe.pair, task)
        for n, part in enumerate(("ids", "types")):
            ours = [tuple(given[n]) for given in inputs]
            theirs = [getattr(answer, part) for answer in probe.answers]
            if ours != theirs and not (part == "types" and _agree(ours, theirs, reading.top_type)):
                raise CheckpointError(_misread(probe, part, ours, theirs, reading))
        found += [Features(ids, types, None, row) for ids, types in inputs]
    return found


def check_texts(
    predict: Predict, probes: Sequence[Probe], features: Sequence[Features], config: Mapping[str, Any]
) -> Parity:
    """A model against transformers, from text. Raises ParityError naming the settings that are not read."""
    want = [answer.logits for answer in chain.from_iterable(probe.answers for probe in probes)]
    found = parity_of(want, run_all(predict, [feature.tokens for feature in features]))
    if not found.max_difference <= found.allowed:
        raise ParityError(
            f"from the same texts, the model differs from transformers by {found.max_difference:.1e}, more than "
            f"{found.allowed:.1e} ({TOLERANCE:.0e} of the largest logit); {_suspects(config)}"
        )
    return found


def _agree(ours: Sequence[tuple[int, ...]], theirs: Sequence[tuple[int, ...]], top: int) -> bool:
    """Whether types differ only where the model has no row for those of transformers."""
    return [tuple(min(kind, top) for kind in kinds) for kinds in theirs] == list(ours)


def _misread(
    probe: Probe, part: str, ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]], reading: Tokenization
) -> str:
    settings = reading.reference.init_kwargs
    odd = [
        name
        for name in ("tokenizer_class", "add_prefix_space", "truncation_side", "do_lower_case", "strip_accents")
        if settings.get(name) is not None
    ]
    if len(ours) != len(theirs):
        where = f"{len(theirs)} inputs where one file gives {len(ours)}"
    else:
        one, other = next((a, b) for a, b in zip(theirs, ours, strict=True) if a != b)
        n = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        where = f"{list(one[n : n + 6])} at token {n} where one file gives {list(other[n : n + 6])}"
    return (
        f"{quoted(probe.text, probe.pair)} has other {part} in transformers than in the tokenizer file: {where}; a "
        f"file cannot say what {type(reading.reference).__name__} does ({', '.join(odd) or 'no setting'} in {SETTINGS})"
    )


def _suspects(config: Mapping[str, Any]) -> str:
    odd = [f"{name} {value!r}" for name, value in unread_settings(config).items()]
    if odd:
        return f"config.json sets what is not read: {', '.join(odd)[:300]}"
    return "please report the checkpoint"


def _answer(logits: NDArray[np.float32]) -> tuple[int, ...]:
    return tuple(int(n) for n in np.atleast_1d(logits.argmax(0))) if logits.size else ()
