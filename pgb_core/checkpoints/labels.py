"""The names of a classifier's labels, as its config.json has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgb_core.artifact import writable
from pgb_core.data.numbers import whole_number
from pgb_core.data.problems import Problem
from pgb_core.data.words import kind, shown, some
from pgb_core.errors import CheckpointError

_MOST_CHARACTERS = 200_000  # of all names of labels together


def check_problem(config: Mapping[str, Any], source: str | Path) -> None:
    """Raises CheckpointError where a config.json names a kind of problem that there is not.

    transformers passes over it and takes one label of several.
    """
    said = config.get("problem_type")
    if said is not None and said not in [*Problem]:
        raise CheckpointError(
            f"{source}: problem_type is {shown(said)} in config.json; use one of {', '.join(Problem)}"
        )


def check_labels(config: Mapping[str, Any], source: str | Path) -> None:
    """Raises CheckpointError where transformers would fail on what a config.json says of labels, or pass over it."""
    names, count = config.get("id2label"), config.get("num_labels")
    if names is None:
        return
    if not isinstance(names, Mapping) or not all(str(number).isdecimal() for number in names):
        raise CheckpointError(
            f'{source}: id2label of config.json must be an object such as {{"0": "bad", "1": "good"}}; correct it'
        )
    if isinstance(count, int) and count != len(names):
        raise CheckpointError(
            f"{source}: num_labels is {count} in config.json, and id2label has {len(names)} names; correct one of them"
        )


def label_names(config: Any, source: str | Path) -> tuple[tuple[str, ...], list[str]]:
    """Names by index, and what is odd about them, from a Hugging Face config object. Raises CheckpointError."""
    try:
        given = [config.id2label[number] for number in range(config.num_labels)]
    except KeyError as error:
        raise CheckpointError(f"{source}: id2label has no {error}; number labels from 0") from error
    odd_one = next((name for name in given if name is None or isinstance(name, (list, dict))), "")
    if odd_one != "":
        raise CheckpointError(f"{source}: id2label has {kind(odd_one)} in place of a name; name each label")
    labels = tuple(map(str, given))
    twice = next((name for name in labels if labels.count(name) > 1), None)
    if twice is not None or not all(map(str.strip, labels)):
        said = f"{twice!r} twice" if twice is not None and twice.strip() else "an empty name"
        raise CheckpointError(f"{source}: id2label has {said}; name each label")
    odd = next((name for name in labels if not writable(name)), None)
    if odd is not None:
        raise CheckpointError(f"{source}: id2label has the name {odd!a}, which is no text in UTF-8; name it otherwise")
    if sum(map(len, labels)) > _MOST_CHARACTERS:
        raise CheckpointError(
            f"{source}: the names of its {len(labels)} labels are too long for a manifest; shorten them"
        )
    if len(labels) != len(config.id2label):
        raise CheckpointError(f"{source}: id2label has {len(config.id2label)} names, the head {len(labels)} labels")
    theirs = {str(name): whole_number(number) for name, number in (config.label2id or {}).items()}
    crossed = sorted(name for n, name in enumerate(labels) if theirs.get(name, n) != n)
    if not crossed:
        return labels, []
    return labels, [
        f"label2id and id2label disagree on {', '.join(crossed[:4])}; id2label is followed, as transformers does"
    ]


def unread_names(config: Mapping[str, Any]) -> list[str]:
    """What to say of names that stand in `label2id` of a config.json alone: transformers does not read them."""
    names = config.get("label2id")
    if config.get("id2label") is not None or not isinstance(names, Mapping):
        return []
    unread = [str(name) for name, number in names.items() if str(name) != f"LABEL_{number}"]
    return unread and [
        f"config.json names the labels {some(unread)} in label2id alone; transformers reads id2label, so they are "
        "called LABEL_0 and so on; write id2label too"
    ]
