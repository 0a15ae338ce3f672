"""Rows in JSON: one object a line, a list of objects, or one object around them, as pandas and the hub write it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgb_core.data.features import names_of, with_names
from pgb_core.data.files import parse_json, read_text, split_lines
from pgb_core.data.packed import holds
from pgb_core.data.rows import Data, Record, Records
from pgb_core.data.splits import is_split
from pgb_core.data.squad import is_nested, nested_questions
from pgb_core.data.words import counted, kind, some
from pgb_core.errors import DataError

_EXAMPLE = '{"text": "good", "label": 1}'


@dataclass(frozen=True)
class _Whole:
    """A file that is one JSON object. wraps: whether rows may stand in it; else it is one row."""

    raw: dict[str, Any]
    where: str
    wraps: bool


def read_objects(path: Path) -> Records:
    """Every row's object; columns are all keys in the order they are met."""
    found = _read(path, "valid JSON")
    if isinstance(found, Records):
        return found
    if is_nested(found.raw):
        raise DataError(f"{path}: is SQuAD questions, and the model labels texts; name a checkpoint for questions")
    rows = _wrapped(found.raw, str(path)) if found.wraps else None
    return rows or _records(str(path), [(found.raw, found.where)])


def read_json_questions(path: Path) -> Data | Records:
    """Questions of a nested SQuAD file, or rows that each should be one."""
    found = _read(path, "SQuAD JSON")
    if isinstance(found, Records):
        return found
    single = "question" in found.raw and not isinstance(found.raw["question"], (list, dict))
    if single or ("data" not in found.raw and {"paragraphs", "qas"} & found.raw.keys()):
        return _records(str(path), [(found.raw, found.where)])
    rows = None if is_nested(found.raw) else _wrapped(found.raw, str(path))
    return rows or nested_questions(found.raw, str(path))


def _read(path: Path, what: str) -> Records | _Whole:
    text = read_text(path)
    lines = split_lines(path, text)
    filled = [n for n, line in enumerate(lines) if line.strip()]
    if not filled:
        return Records(str(path), (), [])
    first = lines[filled[0]].strip()
    if first.startswith("[") or len(filled) == 1 or _is_begun(first):
        where = str(path) if len(filled) > 1 else f"{path}:{filled[0] + 1}"
        raw = parse_json(text, str(path) if what == "SQuAD JSON" else where, what)
        if isinstance(raw, dict):
            return _Whole(raw, where, len(filled) > 1 or holds(path) == ".json")
        items = [(item, f"{path}[{n}]") for n, item in enumerate(raw)] if isinstance(raw, list) else [(raw, where)]
        return _records(str(path), items)
    places = [(n, f"{path}:{n + 1}") for n in filled]
    return _records(str(path), [(parse_json(lines[n], where, "a JSON object a line"), where) for n, where in places])


def _is_begun(line: str) -> bool:
    """Whether a value begins in this line and goes on in the next."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line)
    except (ValueError, RecursionError):
        return False
    return False


def _records(source: str, items: Sequence[tuple[object, str]], about: str = "") -> Records:
    rows = []
    for raw, where in items:
        if not isinstance(raw, Mapping):
            example = f", such as {_EXAMPLE}" if isinstance(raw, list) else ""
            raise DataError(f"{where}: {kind(raw)}, not a JSON object; write each row as one{example}")
        rows.append(Record(raw, where))
    return Records(source, tuple(dict.fromkeys(key for row in rows for key in row.values)), rows, about)


def _wrapped(raw: dict[str, Any], source: str) -> Records | None:
    """The rows in an object: a page of the hub's, a list under 'rows' or 'data', or columns; None where it is a row."""
    rows, data, columns = raw.get("rows"), raw.get("data"), raw.get("columns")
    if isinstance(rows, list):
        if rows and all(isinstance(item, dict) and isinstance(item.get("row"), dict) for item in rows):
            return _page(raw, rows, source)
        return _records(source, [(item, f"{source}: rows[{n}]") for n, item in enumerate(rows)])
    if isinstance(data, list):
        if isinstance(columns, list):
            return _split(columns, data, source)
        if data and all(isinstance(item, dict) for item in data):
            return _records(source, [(item, f"{source}: data[{n}]") for n, item in enumerate(data)])
        return None
    return _by_column(raw, source)


def _page(raw: dict[str, Any], rows: list[dict[str, Any]], source: str) -> Records:
    """A page of the datasets server: each row in 'row', what a column is in 'features'."""
    features = raw.get("features")
    described = [item for item in features if isinstance(item, dict)] if isinstance(features, list) else []
    every = {str(item.get("name")): names_of(item.get("type")) for item in described}
    names = {column: found for column, found in every.items() if found}
    items = []
    for n, item in enumerate(rows):
        cut = item.get("truncated_cells")
        if cut:
            told = some(cut) if isinstance(cut, list) else "a cell"
            raise DataError(f"{source}: rows[{n}]: the page cut {told} short; take the dataset's Parquet file")
        items.append((with_names(item["row"], names), f"{source}: rows[{n}]"))
    total = raw.get("num_rows_total")
    partial = isinstance(total, int) and total > len(rows)
    return _records(source, items, f", of {total:,} rows that the dataset has" if partial else "")


def _split(columns: list[Any], data: list[Any], source: str) -> Records:
    """Names of columns, and a list of cells for each row (pandas' 'split')."""
    names = [str(name) for name in columns]
    if len(set(names)) < len(names):
        raise DataError(f"{source}: two columns have one name; give each its own")
    items: list[tuple[object, str]] = []
    for n, cells in enumerate(data):
        if not isinstance(cells, list) or len(cells) != len(names):
            raise DataError(f"{source}: data[{n}]: not a list of {counted(len(names), 'cell')}; write every row whole")
        items.append((dict(zip(names, cells, strict=True)), f"{source}: data[{n}]"))
    return _records(source, items)


def _by_column(raw: dict[str, Any], source: str) -> Records | None:
    """A list for each column, or an object of rows for each column, or of cells for each row (pandas' 'index')."""
    values = list(raw.values())
    if values and all(isinstance(value, list) for value in values):
        if all(map(is_split, raw)):
            raise DataError(
                f"{source}: its keys are splits ({some(list(raw))}); write the rows of each to its own file"
            )
        if len({len(value) for value in values}) > 1:
            raise DataError(f"{source}: its lists are not of one length; write as many values for each key")
        rows = [dict(zip(raw, cells, strict=True)) for cells in zip(*values, strict=True)]
        return _records(source, [(row, f"{source}[{n}]") for n, row in enumerate(rows)])
    if not values or not all(isinstance(value, dict) and value for value in values):
        return None
    if all(key.isdecimal() for key in raw):
        return _records(source, [(row, f"{source}[{key}]") for key, row in raw.items()])
    index = list(values[0])
    if all(key.isdecimal() for key in index) and all(value.keys() == values[0].keys() for value in values):
        return _records(source, [({name: raw[name][key] for name in raw}, f"{source}[{key}]") for key in index])
    return None
