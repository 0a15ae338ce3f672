"""Reads tables: .tsv as GLUE writes it, where quotes are text, and .csv by RFC 4180."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgb_core.data.files import read_lines
from pgb_core.data.packed import holds
from pgb_core.data.rows import Record, Records
from pgb_core.data.words import counted, plain, shown
from pgb_core.errors import DataError

_LARGEST_CELL = 1 << 30  # characters
_QUOTED = re.compile(r'"[^"]*(""[^"]*)+"')
_WHOLE = re.compile(r'"[^"]*"')
_WRITE = "write the file as .jsonl if the quotes belong to the texts"
_AROUND = (  # what a whole column has around its cells, by the separator; what it is; and the remedy
    (
        "\t",
        re.compile(r"""\s*(["']).*\1\s*""", re.DOTALL),
        "quotes, which are text in .tsv",
        f"remove them, or {_WRITE}",
    ),
    (
        ",",
        re.compile(r"\s*'.*'\s*", re.DOTALL),
        "single quotes, which are text",
        f'write " in their place, or {_WRITE}',
    ),
    (
        ",",
        re.compile(r'\s+".*"\s*', re.DOTALL),
        "quotes behind a blank, where they are text",
        f"remove the blank behind the comma, or {_WRITE}",
    ),
)
_PARTED = re.compile(r'"[^"]*"([;\t|])')  # a header in quotes, with another mark than a comma behind the first name
_MOST_RAGGED = 0.001  # share of rows with more or fewer cells than the header; GLUE's QQP has a few
_RAGGED_FROM = 1000  # rows, below which there may be none
_COLA = ("source", "label", "note", "sentence")


def read_table(path: Path) -> Records:
    """Every row by its header. CoLA's files alone have none."""
    delimiter = "\t" if holds(path) == ".tsv" else ","
    dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if delimiter == "\t" else {"strict": True}
    lines = read_lines(path)
    csv.field_size_limit(_LARGEST_CELL)
    other = _PARTED.match(lines[0]) if delimiter == "," else None
    if other is not None:
        raise _parted(f"{path}:1", other[1])
    reader = csv.reader((f"{line}\n" for line in lines), **dialect)
    parsed = _parsed(reader, path)
    where, header = next(parsed, (f"{path}:1", []))
    rows: list[Record] = []
    about = ""
    if delimiter == "\t" and _is_cola(header):
        names: tuple[str, ...] = _COLA
        rows.append(Record(dict(zip(names, header, strict=True)), where))
        about = " without a header, read as CoLA's"
    else:
        names = _named(header, where)
    ragged: list[_Ragged] = []
    for at, row in parsed:
        if len(row) != len(names):
            first = row[0] if not rows else ""
            ragged.append(_Ragged(at, len(row), 1 + sum(cell.count("\n") for cell in row), first))
            _refuse_ragged(ragged, len(lines), lines, delimiter, len(names))
            continue
        if not about and [row[0].removeprefix("\ufeff"), *row[1:]] == header:
            raise DataError(f"{at}: the header stands here again, as in files that were joined; remove this line")
        rows.append(Record(dict(zip(names, row, strict=True)), at))
    _refuse_ragged(ragged, len(rows) + len(ragged), lines, delimiter, len(names))
    _check_quotes(names, rows, delimiter)
    warnings = (*_left_out(path, ragged, len(rows)), *(_quoted(path, rows) if delimiter == "\t" else ()))
    return Records(str(path), names, rows, about, warnings)


@dataclass(frozen=True)
class _Ragged:
    """A row with more or fewer cells than the header: where it begins, how many cells and lines it has.

    first: its first cell if no row was read before; empty in other rows.
    """

    where: str
    cells: int
    lines: int
    first: str


def _refuse_ragged(ragged: list[_Ragged], rows: int, lines: list[str], delimiter: str, cells: int) -> None:
    """Raises DataError at the first of these rows unless they are few. rows: of the file, or its lines at most.

    A quote that is not closed makes one row of many, so their lines count.
    """
    lost = sum(row.lines for row in ragged)
    if not lost or (rows >= _RAGGED_FROM and lost <= _MOST_RAGGED * rows):
        return
    row = ragged[0]
    few = f" (at most {_MOST_RAGGED:.1%} of the rows may differ)" if rows >= _RAGGED_FROM else ""
    raise DataError(
        f"{row.where}: {counted(row.cells, 'column')} where the header has {cells}{few}; "
        f"{_remedy(lines, delimiter, row.cells - cells, row.first)}"
    )


def _left_out(path: Path, ragged: list[_Ragged], rows: int) -> tuple[str, ...]:
    """A warning of the rows that are left out."""
    if not ragged:
        return ()
    line, one = ragged[0].where.rpartition(":")[2], len(ragged) == 1
    return (
        f"{plain(path.name)}: {len(ragged):,} of {rows + len(ragged):,} rows {'is' if one else 'are'} left out, as "
        f"{'it has' if one else 'they have'} more or fewer cells than the header; the first is at line {line}",
    )


def _check_quotes(names: tuple[str, ...], rows: list[Record], delimiter: str) -> None:
    """Raises DataError where quotes around every cell of a column would be read as part of its texts."""
    for mark, look, fact, remedy in _AROUND if len(rows) > 1 else ():
        for name in names if mark == delimiter else ():
            if all(look.fullmatch(str(row.values[name])) for row in rows):
                raise DataError(f"{rows[0].where}: every {shown(name)} is in {fact}; {remedy}")


def _quoted(path: Path, rows: list[Record]) -> tuple[str, ...]:
    """A warning where cells look quoted as in .csv: in .tsv, as GLUE has it, quotes are part of the text.

    Writers of .csv double the quotes inside; a spreadsheet puts every cell with a comma in quotes, in .tsv too.
    """
    rest = "in .tsv quotes are part of the text, in .csv they are not"
    for row in rows:
        if any(_QUOTED.fullmatch(str(value)) for value in row.values.values()):
            line = row.where.rpartition(":")[2]
            return (f"{plain(path.name)}:{line}: a cell is in quotes that hold doubled ones; {rest}",)
    commas = [str(value) for row in rows for value in row.values.values() if "," in str(value)]
    if len(commas) > 1 and all(_WHOLE.fullmatch(cell) for cell in commas):
        return (f"{plain(path.name)}: every cell with a comma is in quotes; {rest}",)
    return ()


def _is_cola(header: list[str]) -> bool:
    return len(header) == 4 and header[1] in ("0", "1") and header[2].strip() in ("", "*") and bool(header[3].strip())


def _named(header: list[str], where: str) -> tuple[str, ...]:
    names = [name.strip() for name in header]
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError(f"{where}: two columns are named {shown(twice[0])}; give each its own name")
    if names and names[0].startswith("sep="):
        raise DataError(f"{where}: {shown(names[0])} is a note for a spreadsheet; remove this line")
    if names and all(len(name) > 1 and name[0] == name[-1] == '"' for name in names):
        raise DataError(f"{where}: the names of the columns are in quotes, which are text in .tsv; remove all quotes")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t,|"):
        raise _parted(where, next(mark for mark in "\t;,|" if mark in names[0]))
    return tuple(name or f"(column {n} without a name)" for n, name in enumerate(names, 1))


def _parted(where: str, mark: str) -> DataError:
    said = {"\t": "tabs", ",": "commas"}.get(mark, f"'{mark}'")
    return DataError(f"{where}: its columns are parted by {said}; .csv has commas, .tsv has tabs: rename or rewrite it")


def _remedy(lines: list[str], delimiter: str, more: int, first: str) -> str:
    """What to do with a row of more or fewer cells than the header.

    more: how many more. first: the first cell of the first row; empty in other rows.
    """
    if more == 1 and all(line.rstrip("\r").endswith(delimiter) for line in lines[1:] if line.strip()):
        return "remove the separator at the end of each row"
    if more == 1 and first.strip('"') == "1":
        return "if R wrote the numbers of the rows, write the file again with row.names = FALSE"
    if delimiter == "\t":
        return "write a blank for a tab inside a text" if more > 0 else "write every row whole"
    if any('"' in line for line in lines[:1000]):
        return "close its quotes, or put quotes around a cell with the separator"
    return "put quotes around a text with a comma" if more > 0 else "write every row whole"


def _parsed(reader: Any, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Rows that are not blank, each with the line it begins at. Spreadsheets write a blank one as separators alone; one
    cell that is empty in quotes is not blank, as somebody wrote it.
    """
    begun = 1
    try:
        for row in reader:
            if row == [""] or any(map(str.strip, row)):
                yield f"{path}:{begun}", row
            begun = reader.line_num + 1
    except csv.Error as error:
        line = begun if "end of data" in str(error) else reader.line_num
        raise DataError(f"{path}:{line}: {_complaint(str(error))}") from error


def _complaint(said: str) -> str:
    if "end of data" in said:
        return "a quoted cell is never closed; close it with a quote"
    if "expected after" in said:
        return "a quoted cell goes on after its quote; write a quote inside a cell twice"
    if "new-line" in said:
        return "a carriage return stands inside a cell; remove it or put the cell in quotes"
    return f"not a table ({plain(said)}); write it as .csv or .tsv"
