"""Questions as SQuAD writes them, 1.1 and 2.0, and what other tools make of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgb_core.artifact import writable
from pgb_core.data.files import parse_json, read_text
from pgb_core.data.rows import Data, Question, Row
from pgb_core.data.words import counted, kind, shown
from pgb_core.errors import DataError

_OTHER = {".csv": "a table", ".tsv": "a table", ".jsonl": "JSON lines", ".ndjson": "JSON lines", ".txt": "plain text"}
Answers = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Asked:
    """A question as written, its answers empty when none is given and None when the file does not say.

    looked: whether the file says of this question that it has no answer, rather than giving none.
    moved: how many answers stood elsewhere than written.
    """

    question: Question
    looked: bool
    moved: int


def read_squad(path: Path) -> Data:
    """Every question of a SQuAD file. Raises DataError with the question's place."""
    if path.suffix.lower() in _OTHER:
        raise DataError(
            f"{path}: is {_OTHER[path.suffix.lower()]}; questions are read from SQuAD .json, "
            "an object whose 'data' lists articles"
        )
    raw = parse_json(read_text(path), str(path), "SQuAD JSON")
    if isinstance(raw, list):
        raise DataError(f"{path}: is a JSON list; not SQuAD JSON, which is an object whose 'data' lists articles")
    asked: list[Asked] = []
    for article, where in _items(raw, "data", str(path), str(path)):
        if "paragraphs" not in article and "question" in article:
            raise DataError(
                f"{where}: is a question; not SQuAD JSON, where questions stand in 'paragraphs' of an article"
            )
        for paragraph, place in _items(article, "paragraphs", where):
            context = _text(paragraph, "context", place)
            for item, at in _items(paragraph, "qas", place):
                asked.append(read_question(item, context, at))
    return questions(str(path), asked)


def _items(holder: object, key: str, where: str, file: str = "") -> list[tuple[dict[str, Any], str]]:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or key not in holder:
        said = f"lacks '{key}'" if isinstance(holder, dict) else f"is {kind(holder)}"
        raise DataError(f"{where}: not SQuAD JSON ({said}); write 'data', 'paragraphs' and 'qas' as SQuAD does")
    if not isinstance(found, list):
        raise DataError(f"{where}: not SQuAD JSON ('{key}' is {kind(found)}, not a list); write a list")
    items = []
    for number, item in enumerate(found):
        place = f"{file}: data[{number}]" if file else f"{where}.{key}[{number}]"
        if not isinstance(item, dict):
            raise DataError(f"{place}: not SQuAD JSON (it is {kind(item)}, not an object); write an object")
        items.append((item, place))
    return items


def _text(item: Mapping[str, Any], key: str, where: str) -> str:
    if key not in item:
        raise DataError(f"{where}: not SQuAD JSON (lacks '{key}'); add it")
    value = item[key]
    if not isinstance(value, str):
        raise DataError(f"{where}: the {key} is {kind(value)}, not a text; write it as one or remove the entry")
    if not value.strip():
        raise DataError(f"{where}: the {key} is empty; fill it or remove the entry")
    if not writable(value):
        raise DataError(f"{where}: the {key} holds half of a surrogate pair, which is no character; remove it")
    return value


def read_question(item: Mapping[str, Any], context: str, where: str) -> Asked:
    """One entry of 'qas' with its context. Raises DataError when it is malformed or says two things."""
    question = _text(item, "question", where)
    impossible = item.get("is_impossible")
    if impossible is not None and not isinstance(impossible, bool):
        raise DataError(f"{where}: is_impossible is {kind(impossible)}; write true or false")
    given = item.get("answers")
    if given is not None and not isinstance(given, list):
        raise DataError(f"{where}: 'answers' is {kind(given)}, not a list; list objects with 'text'")
    written = [_answer(answer, context, f"{where}.answers[{n}]") for n, answer in enumerate(given or ())]
    answers = tuple((text, place) for text, place, _ in written if text)
    if answers and len(answers) < len(written):
        raise DataError(f"{where}: one answer is empty and another is not; a question has an answer or none")
    if answers and impossible:
        raise DataError(f"{where}: is_impossible is true, yet it has the answer {shown(answers[0][0])}; remove one")
    if written and not answers and impossible is False:
        raise DataError(f"{where}: is_impossible is false, yet the answer is empty; write the answer, or true")
    looked = bool(impossible or written)
    found: Answers | None = tuple(sorted(answers, key=lambda answer: answer[1] is None))
    if not looked and (given is None or impossible is False):
        found = None
    name = item.get("id")
    identity = str(name) if isinstance(name, (str, int)) else where
    moved = sum(moved for _, _, moved in written)
    return Asked(Question(identity, question, context, found, where), looked and not answers, moved)


def _answer(answer: object, context: str, where: str) -> tuple[str, int | None, bool]:
    """The text ('' for none), where it begins, and whether that is elsewhere than written."""
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        said = f"its text is {kind(answer.get('text'))}" if isinstance(answer, dict) else f"is {kind(answer)}"
        raise DataError(f"{where}: {said}; an answer has a 'text' and the 'answer_start' of its first character")
    text, start = answer["text"], answer.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, (int, float, type(None))) or not _finite(start):
        raise DataError(f"{where}: answer_start is {shown(start)}; write the number of the answer's first character")
    if start is not None and start != int(start):
        raise DataError(f"{where}: answer_start is {shown(start)}, not a whole number; write one")
    if not text:
        if start not in (None, -1, 0):
            raise DataError(f"{where}: an empty answer at {shown(start)}; no answer is written as [] or at -1")
        return "", None, False
    if not text.strip():
        raise DataError(f"{where}: the answer is blank; write its text, or [] for no answer")
    if not writable(text):
        raise DataError(f"{where}: the answer holds half of a surrogate pair, which is no character; remove it")
    if start is not None and start >= 0 and context[int(start) : int(start) + len(text)] == text:
        return text, int(start), False
    first = context.find(text)
    if first < 0 or context.find(text, first + 1) >= 0:
        return text, None, False
    return text, first, True


def _finite(start: float | None) -> bool:
    return not isinstance(start, float) or math.isfinite(start)


def questions(source: str, asked: list[Asked]) -> Data:
    """Rows, and what was read of them. Where no question has an answer and none is said to lack one, nobody looked."""
    known = any(item.question.answers or item.looked for item in asked)
    rows = [item.question if known else replace(item.question, answers=None) for item in asked]
    answers = [row.answers for row in rows]
    parts = [
        (sum(bool(a) for a in answers), "answered"),
        (sum(a == () for a in answers), "unanswerable"),
        (sum(a is None for a in answers), "not labelled"),
    ]
    name = shown(source.rstrip("/").rpartition("/")[2])[1:-1]
    said = ", ".join(f"{count:,} {word}" for count, word in parts if count)
    notes, warnings = [f"{name}: {counted(len(rows), 'question')}: {said}"], []
    moved = sum(item.moved for item in asked)
    if moved:
        notes.append(
            f"{name}: {counted(moved, 'answer')} not at the character that the file says; "
            "found again, for the context holds the text once"
        )
    lost = [row for row in rows if unplaced(row)]
    if lost:
        warnings.append(
            f"{name}: {counted(len(lost), 'question')} of {len(rows):,} whose answer is not in the context where the "
            f"file says, nor there just once; the first is {lost[0].where}"
        )
    return Data(source, list[Row](rows), tuple(notes), tuple(warnings))


def unplaced(question: Question) -> bool:
    """Whether it has answers, but the context does not say where any of them is."""
    return question.answers is not None and bool(question.answers) and question.answers[0][1] is None
