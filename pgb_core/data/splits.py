"""Names of splits, such as train and test, among the keys or the cells of one file."""

from __future__ import annotations

import re

from pgb_core.data.numbers import flag
from pgb_core.data.rows import Records
from pgb_core.data.words import file_name, folded, shown, some

_NAMES = {"train", "training", "test", "testing", "valid", "validation", "val", "dev", "eval"}
_FLAGS = {f"is_{name}" for name in _NAMES}


def is_split(name: str) -> bool:
    """Whether it reads as the name of a split: 'train', 'oos_train' or 'validation'."""
    return any(word in _NAMES for word in re.split(r"[^a-z]", name.lower()))


def mixed(records: Records, read: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A warning for each column that says of the rows in which split they are, where they are in several.

    read: the columns that have a role.
    """
    found = {column: _splits(records, column) for column in records.columns if column not in read}
    return tuple(
        f"{file_name(records.source)}: {shown(column)} has rows of {some(map(shown, splits))}, and all are read; write "
        "the rows of each split to its own file"
        for column, splits in found.items()
        if len(splits) > 1
    )


def _splits(records: Records, column: str) -> list[object]:
    """The splits of the rows, by names or, in a column such as 'is_valid', by 0 and 1; none in any other column."""
    flags = folded(column) in _FLAGS
    found: dict[object, None] = {}
    for row in records.rows:
        value = row.values.get(column)
        if not isinstance(value, (str, int, float)):
            return []
        says = flag(value) is not None if flags else isinstance(value, str) and (value in found or is_split(value))
        if not says:
            return []
        found[value] = None
    return list(found)
