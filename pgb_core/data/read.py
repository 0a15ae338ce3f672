"""Reads all rows of a source: tables, JSON, Parquet, plain text or SQuAD, packed or not, from a file or the hub."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pgb_core.data import columns as roles
from pgb_core.data.annotators import accepted
from pgb_core.data.files import read_lines
from pgb_core.data.hub import check_name, hub_records, load
from pgb_core.data.objects import read_json_questions, read_objects
from pgb_core.data.packed import holds
from pgb_core.data.parquet import read_parquet
from pgb_core.data.rows import ORDINARY, Columns, Data, Records, Row, TextRow
from pgb_core.data.splits import mixed
from pgb_core.data.squad import flat_questions
from pgb_core.data.tables import read_table
from pgb_core.data.words import counted, plain, shown
from pgb_core.errors import DataError

QUESTIONS = "questions"
_JSON = (".json", ".jsonl", ".ndjson")
_FASTTEXT = "__label__"
_TIGHT = re.compile(r",(?! )")  # a comma without a blank behind it
_SMALL = re.compile(r"[-+]?[0-9]{1,2}")
_TABLES = (".tsv", ".csv")
_OTHER = {
    ".arrow": "an Arrow file",
    ".feather": "a Feather file",
    ".xlsx": "an Excel file",
    ".xls": "an Excel file",
    ".tar": "a tar archive",
    ".tgz": "a tar archive",
    ".pkl": "a pickle, which is never read",
}


def read_data(source: str | Path, kind: str, split: str = "validation", columns: Columns = ORDINARY) -> Data:
    """Rows with what is to be told about them. Raises DataError when missing, empty, malformed or unclear.

    kind: 'texts' or 'questions'. split: of a hub dataset whose name says none. columns: which are text, pair and label.
    """
    path = Path(source)
    questions = kind == QUESTIONS
    if questions and columns:
        raise DataError(f"{source}: questions have no --text-column, --pair-column or --label-column; leave them out")
    if not _exists(path):
        records = hub_records(str(source), load(str(source), split))
        data = _flat(records) if questions else _texts(records, columns)
    elif path.is_dir():
        raise DataError(f"{path}: is a directory; name the data file in it")
    elif not path.is_file():
        raise DataError(f"{path}: is not a plain file; write the rows to one and name it")
    else:
        data = _questions(path) if questions else _file(path, columns)
    if not data.rows:
        raise DataError(f"{source}: no rows; the file is empty or has only a header")
    return data


def check_there(source: str | Path) -> None:
    """Raises DataError for a file that is not there: before other work, as reading it comes late."""
    if not _exists(Path(source)):
        check_name(str(source))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "it holds a NUL character"
        raise DataError(f"{plain(path)[:200]}: not a path of a file ({said})") from error


def _questions(path: Path) -> Data:
    suffix = holds(path)
    if suffix in (*_TABLES, ".txt", *_OTHER):
        said = "a table" if suffix in _TABLES else _OTHER.get(suffix, "plain text")
        raise DataError(
            f"{path}: is {said}; questions are read from SQuAD .json, and from rows with context, question and "
            "answers in .json, .jsonl or .parquet"
        )
    found = read_parquet(path) if suffix == ".parquet" else read_json_questions(path)
    return _flat(found) if isinstance(found, Records) else found


def _flat(records: Records) -> Data:
    records = accepted(records)
    data = flat_questions(records)
    return replace(data, warnings=(*mixed(records), *data.warnings))


def _file(path: Path, columns: Columns) -> Data:
    suffix = holds(path)
    if suffix in _JSON:
        return _texts(read_objects(path), columns)
    if suffix in _TABLES:
        return _texts(read_table(path), columns)
    if suffix == ".parquet":
        return _texts(read_parquet(path), columns)
    if suffix == ".txt":
        return _lines(path)
    if suffix in _OTHER:
        raise DataError(f"{path}: is {_OTHER[suffix]}; write it as .csv, .jsonl or .parquet")
    raise DataError(f"{path}: unknown kind {shown(suffix)}; use .tsv, .csv, .jsonl, .json, .parquet or .txt")


def _texts(records: Records, columns: Columns) -> Data:
    if not records.rows and not records.columns:
        raise DataError(f"{records.source}: no rows; the file is empty")
    chosen = roles.choose_roles(records, columns)
    records = accepted(records, chosen.all, chosen.labels)
    note, warnings = roles.say(records, chosen)
    rows = list[Row](roles.text_rows(records, chosen))
    told = (*records.warnings, *mixed(records, chosen.all), *warnings)
    return Data(records.source, rows, (note,), told, chosen.labels)


def _lines(path: Path) -> Data:
    rows: list[Row] = []
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if "\r" in text:
            raise DataError(f"{path}:{number}: a carriage return stands inside the line; remove it")
        if text:
            rows.append(TextRow(text, None, None, f"{path}:{number}"))
    if rows and all(isinstance(row, TextRow) and row.text.startswith(_FASTTEXT) for row in rows):
        raise DataError(
            f"{path}: every line begins with {_FASTTEXT}, fastText's mark of a label, and .txt has texts alone; write "
            "it as .csv with the columns text and label"
        )
    _refuse_table(path, [row.text for row in rows if isinstance(row, TextRow)])
    return Data(str(path), rows, (f"{shown(path.name)[1:-1]}: {counted(len(rows), 'text')}, one a line, no labels",))


def _refuse_table(path: Path, lines: list[str]) -> None:
    """Raises DataError where the lines read as rows of a table, whose labels would become a part of the texts."""
    mark = next((mark for mark in "\t;|," if len(lines) > 1 and _has_cells(lines, mark)), None)
    if mark is not None:
        said = "as many tabs" if mark == "\t" else f"'{mark}', with one of a few words before or behind it"
        raise DataError(
            f"{path}: every line has {said}, as a row of a table has, and .txt has texts alone; write a table as .csv "
            "or .tsv, with the names of the columns in the first line, such as text and label, and texts as .jsonl"
        )


def _has_cells(lines: list[str], mark: str) -> bool:
    """Whether all lines have as many tabs, or each has one of a few words before the first mark or behind the last.

    A word, a comma and a blank begin a sentence, such as "Hello, I have a question". Where a blank is behind every
    comma, a word behind the last may end a text, such as "12 Main St, Springfield, IL"; a small number is a label.
    """
    if not all(mark in line for line in lines):
        return False
    if mark == "\t":
        return len({line.count(mark) for line in lines}) == 1
    before = {line.partition(mark)[0].strip() for line in lines}
    behind = {line.rpartition(mark)[2].strip() for line in lines}
    sentences = mark == "," and all(line.partition(mark)[2].startswith(" ") for line in lines)
    if mark == "," and not any(_TIGHT.search(line) for line in lines):
        behind = behind if all(_SMALL.fullmatch(word) for word in behind) else set()
    ends = [behind] if sentences else [before, behind]
    return any(1 < len(words) <= len(lines) / 2 and all(len(word.split()) == 1 for word in words) for words in ends)
