"""Labelled and unlabelled text, from files or the hub, and labels as a model's head wants them.

Read formats: GLUE TSV, CSV, JSONL, plain text (one unlabelled text a line), SQuAD JSON, and a
dataset of the hub by name (`name`, `name:split` or `name/config:split`). Errors name file and line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgb_core.errors import DataError

TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("#1 string", "#2 string"),
    ("text", "text_pair"),
    ("sentence",),
    ("text",),
)
LABEL_COLUMNS = ("labels", "label", "gold_label", "is_duplicate", "category", "intent", "score", "quality")

_LARGEST_CELL = 1 << 30  # characters

Label = int | float | tuple[float, ...] | None


@dataclass(frozen=True)
class TextRow:
    """A text or a pair of texts, with its label as the file wrote it, and where it stands."""

    text: str
    pair: str | None
    label: str | float | tuple[str | float, ...] | None
    where: str


@dataclass(frozen=True)
class Question:
    """One SQuAD question. `answers` are (text, start character); empty when unanswerable, None when unlabelled."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...] | None
    where: str


Row = TextRow | Question


def read_rows(source: str | Path, task: str, split: str = "validation") -> list[Row]:
    """All rows of a file or hub dataset. Raises DataError when missing, empty or malformed.

    split: of a hub dataset whose name says none.
    """
    path = Path(source)
    if not path.exists():
        rows = _from_hub(str(source), task, split)
    elif path.is_dir():
        raise DataError(f"{path}: is a directory; name the data file in it")
    elif task == "qa":
        rows = _squad(path)
    else:
        rows = list(_texts(path))
    if not rows:
        raise DataError(f"{source}: no rows; the file is empty or has only a header")
    return rows


def _texts(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson", ".json"):
        yield from _jsonl(path)
    elif suffix in (".tsv", ".csv"):
        yield from _table(path, "\t" if suffix == ".tsv" else ",")
    elif suffix == ".txt":
        for number, line in enumerate(_lines(path), 1):
            if line.strip():
                yield TextRow(line.strip(), None, None, f"{path}:{number}")
    else:
        raise DataError(f"{path}: unknown kind {suffix!r}; use .tsv, .csv, .jsonl, .txt or SQuAD .json")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _table(path: Path, delimiter: str) -> Iterator[Row]:
    dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if delimiter == "\t" else {}
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader((f"{line}\n" for line in _lines(path)), **dialect)  # type: ignore[arg-type]
    header = next(reader, [])
    names = [name.strip().lower() for name in header]
    texts = next((columns for columns in TEXT_COLUMNS if all(c in names for c in columns)), None)
    if texts is None and len(header) == 4 and header[1] in ("0", "1"):
        names, texts, body = ["source", "label", "note", "sentence"], ("sentence",), [header]
    elif texts is None:
        raise DataError(
            f"{path}:1: no text column among {', '.join(names) or 'nothing'}; name one 'text' or 'sentence'"
        )
    else:
        body = []
    label = next((name for name in LABEL_COLUMNS if name in names), None)
    for row in _chain(body, _parsed(reader, path)):
        where = f"{path}:{reader.line_num}"
        if not row:
            continue
        if len(row) != len(names):
            raise DataError(f"{where}: {len(row)} columns where the header has {len(names)}")
        cells = dict(zip(names, row, strict=True))
        yield TextRow(
            cells[texts[0]],
            cells[texts[1]] if len(texts) > 1 else None,
            cells[label].strip() if label else None,
            where,
        )


def _parsed(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error


def _chain(first: list[list[str]], rest: Iterable[list[str]]) -> Iterator[list[str]]:
    yield from first
    yield from rest


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            raw = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: not a JSON object a line ({error})") from error
        yield _text_row(raw, where)


def _text_row(raw: Any, where: str) -> TextRow:
    if not isinstance(raw, dict):
        raise DataError(f"{where}: not a JSON object")
    texts = next((columns for columns in TEXT_COLUMNS if all(isinstance(raw.get(c), str) for c in columns)), None)
    if texts is None:
        raise DataError(f"{where}: no text; give a string named 'text' or 'sentence'")
    label = next((raw[name] for name in LABEL_COLUMNS if raw.get(name) is not None), None)
    if isinstance(label, list):
        if not all(isinstance(item, (str, int, float)) for item in label):
            raise DataError(f"{where}: a label must be a string, a number or a list of those")
        label = tuple(label)
    elif isinstance(label, bool) or not isinstance(label, (str, int, float, type(None))):
        raise DataError(f"{where}: a label must be a string, a number or a list of those")
    return TextRow(raw[texts[0]], raw[texts[1]] if len(texts) > 1 else None, label, where)


def _squad(path: Path) -> list[Row]:
    where = f"{path}:1"
    try:
        raw = json.loads("\n".join(_lines(path)))
        rows = []
        for a, article in enumerate(raw["data"]):
            for p, paragraph in enumerate(article["paragraphs"]):
                for q, item in enumerate(paragraph["qas"]):
                    where = f"{path}: data[{a}].paragraphs[{p}].qas[{q}]"
                    rows.append(_question(item, str(item["id"]), str(paragraph["context"]), where))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        line = getattr(error, "lineno", None)
        if line:
            raise DataError(f"{path}:{line}: not SQuAD JSON ({error})") from error
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{where}: not SQuAD JSON ({said})") from error
    return _labelled(rows)


def _question(item: dict[str, Any], name: str, context: str, where: str) -> Question:
    given = item.get("answers")
    answers = None if given is None else tuple((str(x["text"]), int(x["answer_start"])) for x in given)
    return Question(name, str(item["question"]), context, answers, where)


def _labelled(rows: list[Question]) -> list[Row]:
    """Where no question has an answer, nobody has looked for one."""
    answered = any(row.answers for row in rows)
    return [row if answered else replace(row, answers=None) for row in rows]


def _from_hub(name: str, task: str, split: str) -> list[Row]:
    if Path(name).suffix or name.startswith((".", "/")):
        raise DataError(f"{name}: no such file")
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{name}: no such file; for a hub dataset install the package 'datasets'") from error
    repo, _, part = name.partition(":")
    parts = repo.split("/")
    config = parts.pop() if len(parts) == 3 else None
    try:
        loaded = datasets.load_dataset("/".join(parts), config, split=part or split)
    except Exception as error:
        raise DataError(
            f"{name}: neither a file here nor a dataset that the hub gave ({type(error).__name__})"
        ) from error
    rows = [_hub_row(raw, f"{name}[{n}]", loaded.features, task) for n, raw in enumerate(loaded)]
    return _labelled([row for row in rows if isinstance(row, Question)]) if task == "qa" else rows


def _hub_row(raw: dict[str, Any], where: str, features: Any, task: str) -> Row:
    if task == "qa":
        try:
            found = raw.get("answers")
            pairs = found and [
                {"text": t, "answer_start": s} for t, s in zip(found["text"], found["answer_start"], strict=True)
            ]
            return _question({**raw, "answers": pairs}, str(raw.get("id", where)), str(raw["context"]), where)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: no question as SQuAD has it ({error})") from error
    names = getattr(features.get("label"), "names", None)
    if names and isinstance(raw.get("label"), int):
        raw = {**raw, "label": names[raw["label"]] if raw["label"] >= 0 else None}
    return _text_row(raw, where)


def label_targets(rows: Sequence[TextRow], labels: Sequence[str], problem_type: str | None) -> list[Label]:
    """Labels as the model's head wants them: an index, a float, or a 0/1 vector.

    Names match the checkpoint's without regard to case; a whole number is an index; of many labels
    a list of zeros and ones, one for each, is the vector itself. Raises DataError at the first label
    that does not match.
    """
    index = {name.lower(): i for i, name in enumerate(labels)}

    def one(row: TextRow, value: str | float) -> int:
        text = str(value).strip().lower()
        if text in index:
            return index[text]
        if text.isdecimal() and int(text) < len(labels):
            return int(text)
        raise DataError(f"{row.where}: label {value!r} is not one of the checkpoint's: {_some(labels)}")

    targets: list[Label] = []
    for row in rows:
        if row.label is None:
            targets.append(None)
        elif problem_type == "regression" or len(labels) == 1:
            targets.append(_number(row))
        elif problem_type == "multi_label_classification":
            wanted = row.label if isinstance(row.label, tuple) else tuple(str(row.label).split(";"))
            if len(wanted) == len(labels) and all(value in (0, 1) for value in wanted):
                targets.append(tuple(float(value) for value in wanted))
                continue
            hot = {one(row, value) for value in wanted if value != ""}
            targets.append(tuple(float(i in hot) for i in range(len(labels))))
        elif isinstance(row.label, tuple):
            raise DataError(f"{row.where}: several labels, but the checkpoint is not multi-label")
        else:
            targets.append(one(row, row.label))
    return targets


def _number(row: TextRow) -> float:
    try:
        return float(str(row.label))
    except ValueError as error:
        raise DataError(f"{row.where}: label {row.label!r} is not a number, and the model is a regression") from error


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
