"""All rows of a source, and what was read of it: GLUE .tsv, .csv, JSON lines, plain text, SQuAD .json, hub datasets."""

from __future__ import annotations

from pathlib import Path

from pgb_core.data import columns as roles
from pgb_core.data.files import read_lines
from pgb_core.data.hub import hub_questions, hub_records, load
from pgb_core.data.objects import read_objects
from pgb_core.data.rows import ORDINARY, Columns, Data, Records, Row, TextRow
from pgb_core.data.squad import read_squad
from pgb_core.data.tables import read_table
from pgb_core.data.words import counted, plain, shown
from pgb_core.errors import DataError

QUESTIONS = "questions"
_PACKED = {
    ".parquet": "a Parquet file",
    ".arrow": "an Arrow file",
    ".xlsx": "an Excel file",
    ".xls": "an Excel file",
    ".gz": "a gzip file",
    ".zip": "a ZIP file",
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
        loaded = load(str(source), split)
        data = hub_questions(str(source), loaded) if questions else _texts(hub_records(str(source), loaded), columns)
    elif path.is_dir():
        raise DataError(f"{path}: is a directory; name the data file in it")
    elif not path.is_file():
        raise DataError(f"{path}: is not a plain file; write the rows to one and name it")
    elif questions:
        if path.suffix.lower() in _PACKED:
            raise DataError(f"{path}: is {_PACKED[path.suffix.lower()]}; questions are read from SQuAD .json")
        data = read_squad(path)
    else:
        data = _file(path, columns)
    if not data.rows:
        raise DataError(f"{source}: no rows; the file is empty or has only a header")
    return data


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "it holds a NUL character"
        raise DataError(f"{plain(path)[:200]}: not a path of a file ({said})") from error


def _file(path: Path, columns: Columns) -> Data:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _texts(read_objects(path), columns)
    if suffix in (".tsv", ".csv"):
        return _texts(read_table(path, bool(columns)), columns)
    if suffix == ".txt":
        return _lines(path)
    if suffix in _PACKED:
        raise DataError(f"{path}: is {_PACKED[suffix]}; .tsv, .csv, .jsonl and .txt are read, write it as one")
    raise DataError(f"{path}: unknown kind {shown(suffix)}; use .tsv, .csv, .jsonl, .txt or SQuAD .json")


def _texts(records: Records, columns: Columns) -> Data:
    if not records.rows and not records.columns:
        raise DataError(f"{records.source}: no rows; the file is empty")
    chosen = roles.choose_roles(records, columns)
    note, warnings = roles.say(records, chosen)
    return Data(records.source, list(roles.text_rows(records, chosen)), (note,), (*records.warnings, *warnings))


def _lines(path: Path) -> Data:
    rows: list[Row] = []
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if "\r" in text:
            raise DataError(f"{path}:{number}: a carriage return stands inside the line; remove it")
        if text:
            rows.append(TextRow(text, None, None, f"{path}:{number}"))
    return Data(str(path), rows, (f"{shown(path.name)[1:-1]}: {counted(len(rows), 'text')}, one a line, no labels",))
