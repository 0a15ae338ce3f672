"""What is asked: the same texts in the same order of every server."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

# A request in five has several texts, and one text in six is several sentences long.
_SIZES = (1, 1, 1, 1, 4)
_SENTENCES = (1, 1, 4, 1, 1, 1)
REQUESTS = 400
MARKER = "marker-7f3a91"
CROWD_TEXTS = 8  # of a client that leaves
BIG_BODY_BYTES = 32 << 20


def sentences(data: Path) -> list[str]:
    """The sentences of the dev set of SST-2 in this folder."""
    with (data / "glue/sst2/dev.tsv").open(encoding="utf-8", newline="") as file:
        return [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def usual(rows: Sequence[str]) -> list[list[str]]:
    """The texts of each of `REQUESTS` requests."""
    words = cycle(rows)
    texts = (" ".join(islice(words, count)) for count in cycle(_SENTENCES))
    return [list(islice(texts, size)) for size in islice(cycle(_SIZES), REQUESTS)]


def long_texts(rows: Sequence[str], count: int) -> list[str]:
    """Texts of four sentences, about 100 tokens, each."""
    words = cycle(rows)
    return [" ".join(islice(words, 4)) for _ in range(count)]


def malformed(encode: Callable[[Sequence[str]], bytes]) -> dict[str, bytes]:
    """Bodies that are wrong, made from a right one; those that hold the marker tell whether it comes back."""
    right = encode([MARKER])
    quoted = f'"{MARKER}"'.encode()
    told = MARKER.encode()
    if right.count(quoted) != 1:
        raise ValueError("the body does not have its text once, and as it is")
    return {
        "nothing": b"",
        "an open brace": b"{",
        "half a body": right[: len(right) // 2],
        "a number": b"7",
        "a list": b"[]",
        "no field that is known": b'{"nothing": ' + quoted + b"}",
        "null for a text": right.replace(quoted, b"null"),
        "a number for a text": right.replace(quoted, b"7"),
        "an object for a text": right.replace(quoted, b'{"text": ' + quoted + b"}"),
        "true for a text": right.replace(quoted, b"true"),
        "bytes that are not UTF-8": right.replace(told, told + b"\xff\xfe"),
        "half a surrogate": right.replace(told, told + b"\\ud800"),
        "32 MiB that end early": right.replace(told, told + b"x" * BIG_BODY_BYTES)[:-3],
        "lists 50,000 deep": right.replace(quoted, b"[" * 50_000 + quoted + b"]" * 50_000),
    }
