"""Inputs made from the vocabulary, and the logits that they must give wherever the artifact runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from tokenizers import Tokenizer

from pgb_core.inference.batches import Predict
from pgb_core.model.encoder import EncoderConfig
from pgb_core.tasks.features import Features

LENGTHS = (4, 17, 48)
_STEP = 7919  # a prime: words from all over the vocabulary, the same each time


def made_up(tokenizer: Tokenizer, config: EncoderConfig, lengths: Sequence[int] = LENGTHS) -> list[Features]:
    """Inputs of these lengths, where the model takes them: its first and last token, and words between.

    The second half of each is of the second type, where the model has types.
    """
    ends = tokenizer.encode("").ids
    marks = {n for n, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    words = sorted(set(tokenizer.get_vocab().values()) - marks - {*ends, config.pad_id})
    picked = _cycle([n for n in words if n < config.vocab])
    made = []
    for row, size in enumerate(min(length, config.max_length) for length in lengths):
        ids = [*ends[:1], *(next(picked) for _ in range(size - len(ends))), *ends[1:]]
        made.append(Features(ids, [int(config.types > 1 and 2 * n >= size) for n in range(size)], None, row))
    return made


def expectations(predict: Predict, features: Sequence[Features]) -> bytes:
    """The inputs with the logits of whatever gives them in one batch, to six decimals, as JSON."""
    found = predict([feature.tokens for feature in features])
    inputs = [
        {"ids": f.ids, "types": f.types, "logits": np.round(logits.astype(np.float64), 6).tolist()}
        for f, logits in zip(features, found, strict=True)
    ]
    return json.dumps({"inputs": inputs}, separators=(",", ":"), allow_nan=False).encode()


def _cycle(ids: Sequence[int]) -> Iterator[int]:
    return (ids[n * _STEP % len(ids)] for n in count(1))
