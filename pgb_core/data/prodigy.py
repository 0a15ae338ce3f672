"""Prodigy's column `answer`: whether the annotator accepted what the row says, rejected it, or skipped the row."""

from __future__ import annotations

from dataclasses import replace

from pgb_core.data.rows import Records
from pgb_core.data.words import counted, shown
from pgb_core.errors import DataError

COLUMN = "answer"
ACCEPTED, OTHERS = "accept", ("reject", "ignore")


def accepted(records: Records, read: tuple[str, ...]) -> Records:
    """The rows that were accepted, and what is told of the others; all rows of a file that is not Prodigy's.

    read: the columns that have a role. Where `answer` is one of them, it is not Prodigy's. Raises DataError when no
    row was accepted.
    """
    if COLUMN in read or not all(row.values.get(COLUMN) in (ACCEPTED, *OTHERS) for row in records.rows):
        return records
    rows = [row for row in records.rows if row.values[COLUMN] == ACCEPTED]
    left_out = len(records.rows) - len(rows)
    if not left_out:
        return records
    if not rows:
        raise DataError(
            f"{records.source}: no row was accepted: every {shown(COLUMN)} is "
            f"{' or '.join(shown(word) for word in OTHERS)}; accept some, or rename the column"
        )
    columns = tuple(name for name in records.columns if name != COLUMN)
    said = f", and {shown(COLUMN)}, which leaves out {counted(left_out, 'row')} that the annotator rejected or skipped"
    return replace(records, columns=columns, rows=rows, about=records.about + said)


__all__ = ["accepted"]
