"""Marks of annotators, as Prodigy and Argilla write them: which rows they accepted, rejected or skipped."""

from __future__ import annotations

from dataclasses import replace

from pgb_core.data.rows import Record, Records
from pgb_core.data.words import counted, shown
from pgb_core.errors import DataError

# The column of a row's mark, the word for an accepted row, and those for others: of Prodigy, and of Argilla 1.
_MARKS = (("answer", "accept", ("reject", "ignore")), ("status", "Validated", ("Discarded", "Default", "Edited")))
# Argilla 2 has a list of labels, one of each annotator, and a list of words beside it.
_STATUS, _SUBMITTED, _OPEN = ".status", "submitted", ("draft", "discarded")


def accepted(records: Records, read: tuple[str, ...] = (), labels: tuple[str, ...] = ()) -> Records:
    """The rows that were accepted, and what is told of the others; all rows of a file without such marks.

    read: the columns that have a role. Where a mark's column is one of them, it is no mark. labels: those of the label.
    Raises DataError when no row was accepted.
    """
    for column, good, others in _MARKS:
        if column not in read and all(row.values.get(column) in (good, *others) for row in records.rows):
            rows = [row for row in records.rows if row.values[column] == good]
            records = _of(records, rows, column)
    for label in labels:
        records = _submitted(records, label)
    return records


def _submitted(records: Records, label: str) -> Records:
    """The rows with a label that was submitted, without those that were not."""
    status = label + _STATUS
    if status not in records.columns:
        return records
    rows: list[Record] = []
    for row in records.rows:
        given, words = row.values.get(label) or [], row.values.get(status) or []
        if not (isinstance(given, list) and isinstance(words, list) and len(given) == len(words)):
            return records
        if not all(word in (_SUBMITTED, *_OPEN) for word in words):
            return records
        kept = [value for value, word in zip(given, words, strict=True) if word == _SUBMITTED]
        if kept:
            rows.append(Record({**row.values, label: kept}, row.where))
    return _of(records, rows, status)


def _of(records: Records, rows: list[Record], column: str) -> Records:
    """Records of these rows alone, with what the column of the marks left out."""
    left_out = len(records.rows) - len(rows)
    if not left_out:
        return replace(records, rows=rows)
    if not rows:
        raise DataError(
            f"{records.source}: no row was accepted, by the column {shown(column)}; accept some, or rename the column"
        )
    columns = tuple(name for name in records.columns if name != column)
    said = f", and {shown(column)}, which leaves out {counted(left_out, 'row')} that the annotator rejected or skipped"
    return replace(records, columns=columns, rows=rows, about=records.about + said)
