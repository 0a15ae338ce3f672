"""JSON lines: one object a line, all of the same keys."""

from __future__ import annotations

from pathlib import Path

from pgb_core.data.files import parse_json, read_lines
from pgb_core.data.rows import Record, Records
from pgb_core.data.words import kind
from pgb_core.errors import DataError


def read_objects(path: Path) -> Records:
    """Every line's object; columns are all keys in the order they are met."""
    lines = read_lines(path)
    first = next((line.strip() for line in lines if line.strip()), "")
    _refuse_other_json(path, lines, first)
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        raw = parse_json(line, where, "a JSON object a line")
        if not isinstance(raw, dict):
            raise DataError(f"{where}: {kind(raw)}, not a JSON object; write one object a line")
        rows.append(Record(raw, where))
    return Records(str(path), tuple(dict.fromkeys(key for row in rows for key in row.values)), rows)


def _refuse_other_json(path: Path, lines: list[str], first: str) -> None:
    """Name a JSON file that is not one object a line for what it is."""
    filled = [line for line in lines if line.strip()]
    if first.startswith("[") and (first == "[" or len(filled) == 1):
        raise DataError(f"{path}: is one JSON list; JSON lines are read: write one object a line")
    if first == "{" or (len(filled) == 1 and '"paragraphs"' in first):
        if any('"paragraphs"' in line for line in filled):
            raise DataError(f"{path}: is SQuAD questions; name a checkpoint for questions, or say --task qa")
        raise DataError(f"{path}: is one JSON object over many lines; write one object a line")
