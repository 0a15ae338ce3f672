"""Reads one label in one way: as names, as an id, or as a vector of zeros and ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pgb_core.data.numbers import flag, truth, whole_number
from pgb_core.data.rows import Flags, Label, Named, RawLabel, Written
from pgb_core.data.words import folded

Reader = Callable[[RawLabel], Label]
_BEGINS = re.compile(r"\s*(\d{1,9})(?!\d)")


class Names:
    """The head's labels, found by a written name: exactly, else but for blanks, case, and how accents or a number are
    written.

    A looser way counts only where it leads to one label. The loosest is a number alone for the label whose name begins
    with it: 1 for "1 star" or "1st".
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._levels: list[dict[str, set[int]]] = []
        for level in _LEVELS:
            table: dict[str, set[int]] = {}
            for n, label in enumerate(labels):
                table.setdefault(level(label), set()).add(n)
            self._levels.append(table)
        self._numbered: dict[int, set[int]] = {}
        for n, label in enumerate(labels):
            if begins := _BEGINS.match(label):
                self._numbered.setdefault(int(begins[1]), set()).add(n)

    def find(self, written: object) -> int | None:
        """The label's index, or None when no label or more than one is meant."""
        if isinstance(written, Named):
            written = written.name
        if isinstance(written, bool):
            written = str(written).lower()
        text = str(written) if isinstance(written, str) or whole_number(written) is None else str(whole_number(written))
        for level, table in zip(_LEVELS, self._levels, strict=True):
            found = table.get(level(text))
            if found:
                return _only(found)
        number = whole_number(text)
        return None if number is None else _only(self._numbered.get(number, set()))

    def id(self, written: object) -> int | None:
        """The label's index where the id is written; true and false are ids of a head of two."""
        if isinstance(written, Named):
            return written.id if written.id < len(self.labels) else None
        said = truth(written)
        if said is not None:
            return int(said) if len(self.labels) == 2 else None
        number = whole_number(written)
        return number if number is not None and 0 <= number < len(self.labels) else None


def _only(found: set[int]) -> int | None:
    return next(iter(found)) if len(found) == 1 else None


def _number_or_text(text: str) -> str:
    number = whole_number(text)
    return folded(text) if number is None else str(number)


_LEVELS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: text.strip(),
    folded,
    _number_or_text,
)


def single(names: Names) -> dict[str, Reader]:
    """Readings for a head that picks one label: an index, or None where the label does not fit."""
    return {
        "names": lambda label: None if isinstance(label, (tuple, Flags)) else names.find(label),
        "ids": lambda label: None if isinstance(label, (tuple, Flags)) else names.id(label),
    }


def many(names: Names) -> dict[str, Reader]:
    """Readings for a head that picks any number of labels: a vector of 0 and 1, or None where it does not fit."""
    size = len(names.labels)

    def parts(label: RawLabel) -> tuple[Written, ...]:
        if isinstance(label, tuple):
            return label
        if isinstance(label, str) and names.find(label) is None:
            return tuple(label.split(";"))
        return () if label is None or isinstance(label, Flags) else (label,)

    def hot(found: Sequence[int | None]) -> Label:
        return None if None in found else tuple(float(n in found) for n in range(size))

    def by_name(label: RawLabel) -> Label:
        return hot([names.find(part) for part in parts(label)])

    def by_id(label: RawLabel) -> Label:
        found = [None if truth(part) is not None else names.id(part) for part in parts(label)]
        return hot(found) if len(set(found)) == len(found) else None

    def vector(label: RawLabel) -> Label:
        flags = [flag(part) for part in parts(label)]
        return None if len(flags) != size or None in flags else tuple(value for value in flags if value is not None)

    return {"names": by_name, "ids": by_id, "vector": vector}
