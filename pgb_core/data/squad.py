"""Reads questions in the format of SQuAD 1.1 and 2.0, and in the formats that other tools make of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from pgb_core.artifact import writable
from pgb_core.data.numbers import flag
from pgb_core.data.rows import Data, QuestionRow, Records, Row
from pgb_core.data.words import counted, file_name, kind, shown, some
from pgb_core.errors import DataError

MOST_WRONG = 0.05  # share of answered questions that may have an answer elsewhere than written
Answers = tuple[tuple[str, int | None], ...]
# Columns of answers and of their places where there is no `answers`: as pandas flattens it, and of one answer a row.
_APART = (("answers.text", "answers.answer_start"), ("answer_text", "answer_start"))
_READ = ("id", "title", "context", "question", "answers", "is_impossible", "plausible_answers", "paragraphs", "qas")


class Place(Enum):
    """How an answer's place was found."""

    WRITTEN = "it stands where it is written to"
    NONE = "no answer"
    BY_TEXT = "no place is written, and the context holds the text once"
    MOVED = "it is elsewhere than written, and the context holds the text once"
    UNSETTLED = "no place is written, and the context holds the text more than once"
    AMBIGUOUS = "it is elsewhere than written, and the context holds the text more than once"
    ABSENT = "the context does not hold the text"


_WRONG = (Place.MOVED, Place.AMBIGUOUS, Place.ABSENT)


@dataclass(frozen=True)
class WrittenQuestion:
    """A question as written, its answers empty when none is given and None when the file does not say.

    looked: whether the file says what the answer is, or that there is none, rather than giving none.
    places: of every answer, how its place was found.
    """

    question: QuestionRow
    looked: bool
    places: tuple[Place, ...]


def is_nested(raw: object) -> bool:
    """Whether a JSON value is SQuAD's own form: articles under 'data', with 'paragraphs'."""
    data = raw.get("data") if isinstance(raw, dict) else None
    return isinstance(data, list) and any(isinstance(item, dict) and "paragraphs" in item for item in data)


def nested_questions(raw: object, source: str) -> Data:
    """Every question of SQuAD's own form. Raises DataError with the question's place."""
    articles = _items(raw, "data", source, source)
    return questions(source, [asked for article, where in articles for asked in _of_article(article, where)])


def flat_questions(records: Records) -> Data:
    """A question a row, with its context beside it, as the hub has SQuAD; or an article or a paragraph of SQuAD a row.

    Raises DataError with the row's place.
    """
    asked = [question for row in records.rows for question in _of_row(row.values, row.where)]
    read = {*_READ, *_APART[0], *_APART[1]}
    rest = [column for column in records.columns if column not in read]
    ignored = f"; {some([shown(c) for c in rest])} {'is' if len(rest) == 1 else 'are'} not read" if rest else ""
    return questions(records.source, asked, records.about, ignored)


def _of_row(row: Mapping[str, Any], where: str) -> Iterator[WrittenQuestion]:
    if "paragraphs" in row:
        return _of_article(row, where)
    if "qas" in row:
        return _of_paragraph(row, where)
    return iter([read_question(row, _text(row, "context", where), where)])


def _of_article(article: Mapping[str, Any], where: str) -> Iterator[WrittenQuestion]:
    for paragraph, place in _items(article, "paragraphs", where):
        yield from _of_paragraph(paragraph, place)


def _of_paragraph(paragraph: Mapping[str, Any], where: str) -> Iterator[WrittenQuestion]:
    context = _text(paragraph, "context", where)
    return (read_question(item, context, at) for item, at in _items(paragraph, "qas", where))


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
        raise DataError(f"{where}: no question as SQuAD has it (lacks '{key}'); add it")
    value = item[key]
    if not isinstance(value, str):
        raise DataError(f"{where}: the {key} is {kind(value)}, not a text; write it as one or remove the entry")
    if not value.strip():
        raise DataError(f"{where}: the {key} is empty; fill it or remove the entry")
    if not writable(value):
        raise DataError(f"{where}: the {key} holds half of a surrogate pair, which is no character; remove it")
    return value


def read_question(item: Mapping[str, Any], context: str, where: str) -> WrittenQuestion:
    """One entry of 'qas', or one row, with its context. Raises DataError when it is malformed or says two things."""
    question = _text(item, "question", where)
    impossible = _impossible(item, where)
    given = _listed(_given(item), where)
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
    places = tuple(place for _, _, place in written)
    return WrittenQuestion(QuestionRow(question, context, found, where), looked, places)


def _impossible(item: Mapping[str, Any], where: str) -> bool | None:
    """What is_impossible says, also as 0 or 1; None where it is empty."""
    written = _filled(item.get("is_impossible"))
    said = flag(written)
    if written is not None and said is None:
        raise DataError(f"{where}: is_impossible is {kind(written)}; write true or false")
    return None if said is None else bool(said)


def _given(item: Mapping[str, Any]) -> object:
    """The answers as written, also where their texts and their places have a column each."""
    if "answers" in item:
        return _filled(item["answers"])
    texts, starts = next((columns for columns in _APART if columns[0] in item), _APART[0])
    text, start = _filled(item.get(texts)), _filled(item.get(starts))
    if text is None:
        return None
    answers = {"text": text, "answer_start": start}
    return answers if isinstance(text, list) else [answers]


def _filled(value: object) -> object:
    """None for NaN, which pandas writes for an empty cell."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _listed(given: object, where: str) -> list[Any] | None:
    """Answers one by one; the hub has a list of their texts and one of their places, and some have one answer alone."""
    if given is None or isinstance(given, list):
        return given
    if isinstance(given, dict) and isinstance(given.get("text"), str):
        return [given]
    if not isinstance(given, dict):
        raise DataError(f"{where}: 'answers' is {kind(given)}, not a list; list objects with 'text'")
    texts, starts = given.get("text"), given.get("answer_start")
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise DataError(f"{where}: 'answers' needs as many 'text' as 'answer_start', each in a list")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _answer(answer: object, context: str, where: str) -> tuple[str, int | None, Place]:
    """The text ('' for none), where it begins, and how that was found."""
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        said = f"its text is {kind(answer.get('text'))}" if isinstance(answer, dict) else f"is {kind(answer)}"
        raise DataError(f"{where}: {said}; an answer has a 'text' and the 'answer_start' of its first character")
    text, start = answer["text"], _start(answer, where)
    if not text:
        if start not in (None, -1, 0):
            raise DataError(f"{where}: an empty answer at {shown(start)}; no answer is written as [] or at -1")
        return "", None, Place.NONE
    if not text.strip():
        raise DataError(f"{where}: the answer is blank; write its text, or [] for no answer")
    if not writable(text):
        raise DataError(f"{where}: the answer holds half of a surrogate pair, which is no character; remove it")
    if start is not None and start >= 0 and context[int(start) : int(start) + len(text)] == text:
        return text, int(start), Place.WRITTEN
    written = start not in (None, -1)
    first = context.find(text)
    if first < 0:
        return text, None, Place.ABSENT
    if context.find(text, first + 1) >= 0:
        return text, None, Place.AMBIGUOUS if written else Place.UNSETTLED
    return text, first, Place.MOVED if written else Place.BY_TEXT


def _start(answer: Mapping[str, Any], where: str) -> float | None:
    start = answer.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, (int, float, type(None))) or not _finite(start):
        raise DataError(f"{where}: answer_start is {shown(start)}; write the number of the answer's first character")
    if start is not None and start != int(start):
        raise DataError(f"{where}: answer_start is {shown(start)}, not a whole number; write one")
    return start


def _finite(start: float | None) -> bool:
    return not isinstance(start, float) or math.isfinite(start)


def questions(source: str, asked: list[WrittenQuestion], about: str = "", ignored: str = "") -> Data:
    """Rows, and what was read of them. Where no question has an answer and none is said to lack one, nobody looked.

    Raises DataError when more than a few have an answer elsewhere than written. about: what a reader should know of
    the source. ignored: which columns are not read.
    """
    _refuse_wrong(source, asked)
    known = any(item.looked for item in asked)
    rows = [item.question if known else replace(item.question, answers=None) for item in asked]
    answers = [row.answers for row in rows]
    parts = [
        (sum(bool(a) for a in answers), "answered"),
        (sum(a == () for a in answers), "unanswerable"),
        (sum(a is None for a in answers), "not labelled"),
    ]
    name = file_name(source)
    said = ", ".join(f"{count:,} {word}" for count, word in parts if count)
    notes, warnings = [f"{name}: {counted(len(rows), 'question')}{about}: {said}{ignored}"], []
    places = Counter(place for item in asked for place in item.places)
    if places[Place.MOVED]:
        notes.append(
            f"{name}: {counted(places[Place.MOVED], 'answer')} not at the character that the file says; "
            "found again, for the context holds the text once"
        )
    if places[Place.BY_TEXT]:
        notes.append(
            f"{name}: {counted(places[Place.BY_TEXT], 'answer')} without a place; "
            "found by the text, which the context holds once"
        )
    lost = [row for row in rows if unplaced(row)]
    if lost:
        warnings.append(
            f"{name}: {counted(len(lost), 'question')} of {len(rows):,} whose answer is not in the context where the "
            f"file says, nor there just once; the first is {lost[0].where}"
        )
    return Data(source, list[Row](rows), tuple(notes), tuple(warnings))


def _refuse_wrong(source: str, asked: list[WrittenQuestion]) -> None:
    wrong = [item for item in asked if set(item.places) & set(_WRONG)]
    answered = sum(bool(item.question.answers) for item in asked)
    if len(wrong) <= max(1, MOST_WRONG * answered):
        return
    places = Counter(place for item in wrong for place in item.places)
    parts = [
        (places[Place.MOVED], "elsewhere in the context, once"),
        (places[Place.AMBIGUOUS], "elsewhere more than once"),
        (places[Place.ABSENT], "not in it at all"),
    ]
    said = ", ".join(f"{count:,} {word}" for count, word in parts if count)
    raise DataError(
        f"{source}: {len(wrong):,} of {counted(answered, 'question')} have an answer that is not where the file says "
        f"({said}; the first is {wrong[0].question.where}); at most {MOST_WRONG:.0%} may. Correct them; an answer "
        "without answer_start is found by its text"
    )


def unplaced(question: QuestionRow) -> bool:
    """Whether it has answers, but the context does not say where any of them is."""
    return question.answers is not None and bool(question.answers) and question.answers[0][1] is None
