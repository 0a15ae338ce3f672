"""A dataset of the hub by name: `name`, `name:split` or `name/config:split`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pgb_core.data.rows import Data, Named, Record, Records
from pgb_core.data.squad import Asked, questions, read_question
from pgb_core.data.words import kind
from pgb_core.errors import DataError


def load(name: str, split: str) -> Any:
    """The dataset, as the package `datasets` gives it. Raises DataError."""
    if Path(name).suffix or name.startswith((".", "/")):
        raise DataError(f"{name}: no such file; give the path of a data file, or a hub dataset by name")
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{name}: no such file; for a hub dataset install the package 'datasets'") from error
    repo, _, part = name.partition(":")
    parts = repo.split("/")
    config = parts.pop() if len(parts) == 3 else None
    try:
        return datasets.load_dataset("/".join(parts), config, split=part or split)
    except Exception as error:
        raise DataError(
            f"{name}: neither a file here nor a dataset that the hub gave ({type(error).__name__})"
        ) from error


def hub_records(name: str, loaded: Iterable[dict[str, Any]]) -> Records:
    """Rows by column; a number whose column has names becomes a label that knows both."""
    features = getattr(loaded, "features", None) or {}
    names: dict[str, list[str]] = {}
    for column, feature in features.items():
        found = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if found:
            names[column] = list(found)
    rows = [
        Record(
            {column: _label(value, names[column]) if column in names else value for column, value in raw.items()},
            f"{name}[{n}]",
        )
        for n, raw in enumerate(loaded)
    ]
    return Records(name, tuple(dict.fromkeys(key for row in rows for key in row.values)), rows)


def _label(value: object, names: list[str]) -> object:
    if isinstance(value, (list, tuple)):
        return [_label(item, names) for item in value]
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if value == -1:
        return None
    return Named(names[value], value) if 0 <= value < len(names) else value


def hub_questions(name: str, loaded: Iterable[dict[str, Any]]) -> Data:
    """Rows as the hub's SQuAD has them: answers are one list of texts and one of places."""
    asked: list[Asked] = []
    for n, raw in enumerate(loaded):
        where = f"{name}[{n}]"
        for key in ("question", "context"):
            if not isinstance(raw.get(key), str) or not raw[key].strip():
                raise DataError(f"{where}: no question as SQuAD has it ('{key}' is {kind(raw.get(key))}, not a text)")
        asked.append(read_question({**raw, "answers": _answers(raw.get("answers"), where)}, raw["context"], where))
    return questions(name, asked)


def _answers(given: object, where: str) -> list[dict[str, object]] | None:
    if given is None:
        return None
    texts, starts = (given.get("text"), given.get("answer_start")) if isinstance(given, dict) else (None, None)
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise DataError(f"{where}: no question as SQuAD has it ('answers' needs as many 'text' as 'answer_start')")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
