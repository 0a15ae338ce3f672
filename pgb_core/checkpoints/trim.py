"""Takes tokens out of a checkpoint: its tokenizer, its table of words, and the ids that its settings name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import torch
from tokenizers import Tokenizer

from pgb_core.checkpoints.load import Checkpoint
from pgb_core.checkpoints.reference import Probe
from pgb_core.checkpoints.vocabulary import check, ids_of, kept_ids, renumbered
from pgb_core.errors import CheckpointError
from pgb_core.model.encoder import Encoder

_ID = "_token_id"


def trimmed(checkpoint: Checkpoint, seen: Set[int]) -> Checkpoint:
    """The checkpoint with the tokens that were seen, and those without which some text could not be read.

    Old ids keep their order. `kept` of the result has the old id of each new one. The ids of the probes are the new
    ones, and their logits are still those that transformers gave. Raises CheckpointError when the tokenizer is of a
    kind whose tokens cannot go.
    """
    reading, model = checkpoint.reading, checkpoint.model
    spec = json.loads(reading.tokenizer.to_str())
    check(spec)
    probed = {n for probe in checkpoint.probes for answer in probe.answers for n in answer.ids}
    named = _named(checkpoint)
    stays = kept_ids(spec, seen | probed) | {model.config.pad_id, *named.values()}
    if not model.config.counts_padding:  # positions are counted from the padding's id
        stays |= set(range(model.config.pad_id))
    tokens = reading.tokenizer.get_vocab(with_added_tokens=True)
    with_token = stays & ids_of(spec)
    rows = [*sorted(with_token), *sorted(stays - with_token)]  # a token that is added takes the next id
    new = {old: n for n, old in enumerate(rows)}
    if not model.config.counts_padding and new[model.config.pad_id] != model.config.pad_id:
        raise CheckpointError(
            f"{checkpoint.source}: a token id before that of the padding has no token, so ids cannot move; leave "
            "--vocabulary used out"
        )
    tokenizer = Tokenizer.from_str(json.dumps(renumbered(spec, new)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    wanted = {token: new[n] for token, n in tokens.items() if n in new}
    if tokenizer.get_vocab(with_added_tokens=True) != wanted:
        raise CheckpointError(
            f"{checkpoint.source}: the tokenizer's ids are not in one row, so they cannot move; leave --vocabulary "
            "used out"
        )
    return replace(
        checkpoint,
        model=_smaller(model, rows, new),
        reading=replace(reading, tokenizer=tokenizer),
        passed_on={
            **checkpoint.passed_on,
            **{name: new[n] for name, n in named.items()},
            "vocab_size": len(rows),
        },
        probes=tuple(_probe(probe, new) for probe in checkpoint.probes),
        kept=tuple(rows),
    )


def _named(checkpoint: Checkpoint) -> dict[str, int]:
    """The ids of special tokens that the settings name, as far as the table has them."""
    rows = checkpoint.model.config.vocab
    return {
        name: value
        for name, value in checkpoint.passed_on.items()
        if name.endswith(_ID) and type(value) is int and 0 <= value < rows
    }


def _smaller(model: Encoder, rows: Sequence[int], new: Mapping[int, int]) -> Encoder:
    """The encoder with these rows of its table of words; all else is the same."""
    config = replace(model.config, vocab=len(rows), pad_id=new[model.config.pad_id])
    state = model.state_dict()
    state["embeddings.word.weight"] = state["embeddings.word.weight"][list(rows)]
    with torch.device("meta"):
        smaller = Encoder(config)
    smaller.load_state_dict(state, assign=True)
    return smaller.eval()


def _probe(probe: Probe, new: Mapping[int, int]) -> Probe:
    answers = (replace(answer, ids=tuple(new[n] for n in answer.ids)) for answer in probe.answers)
    return replace(probe, answers=tuple(answers))
