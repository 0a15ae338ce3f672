"""The names of a classifier's labels, as its config.json has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pgb_core.artifact import writable
from pgb_core.errors import CheckpointError

_MOST_CHARACTERS = 200_000  # of all names of labels together


def label_names(config: Any, source: str | Path) -> tuple[tuple[str, ...], list[str]]:
    """Names by index, and what is odd about them, from a Hugging Face config object. Raises CheckpointError."""
    try:
        labels = tuple(str(config.id2label[number]) for number in range(config.num_labels))
    except KeyError as error:
        raise CheckpointError(f"{source}: id2label has no {error}; number labels from 0") from error
    twice = next((name for name in labels if labels.count(name) > 1), None)
    if twice is not None or "" in labels:
        raise CheckpointError(
            f"{source}: id2label has " + ("an empty name" if "" in labels else f"{twice!r} twice") + "; name each label"
        )
    odd = next((name for name in labels if not writable(name)), None)
    if odd is not None:
        raise CheckpointError(f"{source}: id2label has the name {odd!a}, which is no text in UTF-8; name it otherwise")
    if sum(map(len, labels)) > _MOST_CHARACTERS:
        raise CheckpointError(
            f"{source}: the names of its {len(labels)} labels are too long for a manifest; shorten them"
        )
    if len(labels) != len(config.id2label):
        raise CheckpointError(f"{source}: id2label has {len(config.id2label)} names, the head {len(labels)} labels")
    theirs = {str(name): number for name, number in (config.label2id or {}).items()}
    crossed = sorted(name for n, name in enumerate(labels) if theirs.get(name, n) != n)
    if not crossed:
        return labels, []
    return labels, [
        f"label2id and id2label disagree on {', '.join(crossed[:4])}; id2label is followed, as transformers does"
    ]
