"""Parts of held-out rows. Whatever the order of a file, each part has its share of every label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain

from pgb_core.data.rows import QuestionRow, Row
from pgb_core.tasks.base import Source


def half(source: Source, number: int) -> Source:
    """One of the two halves. number: 0 or 1. Rows that belong together are in one half; it is the one with fewer."""
    halves: tuple[list[int], list[int]] = ([], [])
    for places in _groups(source):
        min(halves, key=len).extend(places)
    return source.picked(sorted(halves[number]))


def some(source: Source, count: int) -> Source:
    """At most `count` rows."""
    places = list(chain.from_iterable(_groups(source)))
    if len(places) <= count:
        return source
    return source.picked(sorted(places[n * len(places) // count] for n in range(count)))


def seen(source: Source, others: Iterable[Source]) -> int:
    """How many rows have the texts of a row of the others, whatever the white space between words."""
    known = {_texts(row) for other in others for row in other.rows}
    return sum(_texts(row) in known for row in source.rows)


def _texts(row: Row) -> tuple[str, ...]:
    return tuple(" ".join(text.split()) for text in row.texts)


def _groups(source: Source) -> list[list[int]]:
    """Places of the rows, by what they belong to. Groups of one label follow each other, in an order that is drawn."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(source.rows):
        found.setdefault(row.group, []).append(place)

    def order(group: tuple[str, list[int]]) -> tuple[str, str]:
        key, (first, *_) = group
        label = "" if isinstance(source.rows[first], QuestionRow) else repr(source.targets[first])
        return label, hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

    return [places for _, places in sorted(found.items(), key=order)]
