"""Finds the columns of the text, its pair and the label: by the caller's setting, by common names, or by asking."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pgb_core.artifact import writable
from pgb_core.data.rows import Columns, Flags, Named, RawLabel, Record, Records, TextRow
from pgb_core.data.words import counted, file_name, folded, kind, shown, some
from pgb_core.errors import DataError

PAIRS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("#1 string", "#2 string"),
    ("text", "text_pair"),
    ("query", "passage"),
    ("question", "passage"),
    ("text1", "text2"),
)
TEXTS = ("sentence", "text", "review", "content", "comment", "body", "tweet", "message", "utterance")
LABELS: tuple[str, ...] = ("labels", "label", "gold_label", "is_duplicate", "category", "intent", "score", "quality")
LABELS += ("sentiment", "class", "target", "rating", "stars", "emotion")

# As Python and pandas, R, databases and spreadsheets write a cell without a value.
_EMPTY_WORDS = ("nan", "NaN", "<NA>", "None", "NaT", "NA", "null", "NULL", "\\N", "#N/A", "#NV", "#N/D")
# As spreadsheets in English, German and French write a formula that fails. A text such as "- too loud" is one for them.
_FAILED = ("#NAME?", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NULL!", "#WERT!", "#BEZUG!", "#NOM?", "#VALEUR!")
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")
# A list in Python or JSON, with no other in it, alone or as Label Studio writes it.
_LIST = re.compile(r"""\s*(?:\{\s*"choices"\s*:\s*)?(\[[^][{}]*\])(?:\s*\})?\s*""")
# A text of Python in quotes; a list of such texts, written as '' each, with blanks alone between; and two of them that
# Python reads as one.
_QUOTED = re.compile(r''''(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"''', re.DOTALL)
_SPACED = re.compile(r"\[\s*''(?:\s+'')*\s*\]")
_GLUED = re.compile(r"''\s*\w*''")
_LONG = 40  # characters: what is longer reads as a text


@dataclass(frozen=True)
class Roles:
    """The column of each role."""

    text: str
    pair: str | None
    labels: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (self.text, *([self.pair] if self.pair else []), *self.labels)


def choose_roles(records: Records, wanted: Columns) -> Roles:
    """The roles of a source's columns. Raises DataError when one is missing or two could be it."""
    filled = {name for row in records.rows for name, value in row.values.items() if _is_filled(value)}
    ordinary: dict[str, list[str]] = {}
    for name in records.columns:
        if name in filled or not records.rows:
            ordinary.setdefault(folded(name), []).append(name)
    if wanted.pair and not wanted.text:
        raise DataError(f"{records.source}: --pair-column alone; name the first text too, with --text-column")
    known = {folded(column) for column in records.columns}
    lacking = wanted.unlabelled and all(folded(name) not in known for name in wanted.label)
    asked = () if lacking else wanted.label
    label = tuple(_named(records, name, "--label-column") for name in asked)
    if wanted.text:
        text = _named(records, wanted.text, "--text-column")
        pair = _named(records, wanted.pair, "--pair-column") if wanted.pair else None
    else:
        text, pair = _texts(records, ordinary, label)
    if not wanted.label and not wanted.texts_alone:
        free = {k: [name for name in v if name not in (text, pair)] for k, v in ordinary.items()}
        label = _label(records, free)
    roles = Roles(text, pair, label)
    if len(set(roles.all)) < len(roles.all):
        options = "--text-column, --pair-column or --label-column" if roles.pair else "--text-column or --label-column"
        raise DataError(f"{records.source}: one column is named for two roles; name another with {options}")
    return roles


def _named(records: Records, name: str, option: str) -> str:
    if name in records.columns:
        return name
    found = [column for column in records.columns if folded(column) == folded(name)]
    if len(found) == 1:
        return found[0]
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and all(part in records.columns for part in parts):
        raise DataError(f"{records.source}: no column {shown(name)}; write {option} once for each column")
    said = f"{len(found)} columns are called {shown(name)} but for case" if found else f"no column {shown(name)}"
    raise DataError(f"{records.source}: {said}; {option} takes one of {some(records.columns) or 'none, it is empty'}")


def _texts(records: Records, ordinary: dict[str, list[str]], label: Sequence[str]) -> tuple[str, str | None]:
    free = {k: v for k, v in ordinary.items() if not set(v) & set(label)}
    found = _known_texts(free)
    columns = [name for names in found for part in names for name in free[part]]
    taken = [name for names in _known_texts(ordinary) for part in names for name in ordinary[part] if name in label]
    if not found and taken:
        raise DataError(
            f"{records.source}: --label-column names {shown(taken[0])}, which is the text column by its name; name the "
            "column of the label, or that of the text with --text-column"
        )
    empty = [c for c in records.columns if folded(c) in TEXTS and folded(c) not in ordinary]
    if not found and empty:
        raise DataError(
            f"{records.source}: {shown(empty[0])} is empty in every row; fill it, or name another with --text-column"
        )
    if not found and any(len(name) > _LONG or _NUMBER.fullmatch(name.strip()) for name in records.columns):
        raise DataError(
            f"{records.source}:1: {some(records.columns)} reads as a row, not as the names of columns; write a first "
            "line with the names above it, such as text,label, or, if these are the names, name the text's with "
            "--text-column"
        )
    if not found:
        raise DataError(
            f"{records.source}:1: no text column among {some(records.columns) or 'nothing'}; "
            f"name it with --text-column, or call it 'text'{_within(records)}"
        )
    if len(found) > 1 or len(columns) > len(found[0]):
        raise DataError(
            f"{records.source}: {some([shown(name) for name in dict.fromkeys(columns)])} could each be the text; "
            "say --text-column, and --pair-column for a second text"
        )
    return columns[0], columns[1] if len(columns) > 1 else None


def _within(records: Records) -> str:
    """What to do where the text may be within an object of the first row."""
    first = records.rows[0].values if records.rows else {}
    for name, value in first.items():
        if isinstance(value[0] if isinstance(value, list) and value else value, Mapping):
            return (
                f"; if it is within {shown(name)}, which holds objects, write it as a key of the row itself, as "
                "Label Studio's JSON-MIN does"
            )
    return ""


def _known_texts(ordinary: dict[str, list[str]]) -> Sequence[tuple[str, ...]]:
    """Names that a text has, or two texts where there are pairs of them."""
    pairs = [pair for pair in PAIRS if all(name in ordinary for name in pair)]
    return pairs or [(name,) for name in TEXTS if name in ordinary]


def _label(records: Records, ordinary: dict[str, list[str]]) -> tuple[str, ...]:
    found = [column for name in LABELS for column in ordinary.get(name, [])]
    if len(found) > 1:
        raise DataError(
            f"{records.source}: {some([shown(name) for name in found])} could each be the label; say --label-column"
        )
    return tuple(found)


def text_rows(records: Records, roles: Roles) -> list[TextRow]:
    """The rows in their roles. Raises DataError at the first that lacks a text."""
    return [
        TextRow(
            _text(row, roles.text), _text(row, roles.pair) if roles.pair else None, _raw(row, roles.labels), row.where
        )
        for row in records.rows
    ]


def _text(row: Record, column: str) -> str:
    value = row.values.get(column)
    word = value.strip() if isinstance(value, str) else ""
    if word in _EMPTY_WORDS or word in _FAILED:
        said = "tools write for an empty cell" if word in _EMPTY_WORDS else "spreadsheets write where a formula fails"
        raise DataError(
            f"{row.where}: the text {shown(column)} is the one word {shown(word)}, which {said}; fill it or remove the "
            "row"
        )
    if isinstance(value, str) and value.strip():
        if not writable(value):
            raise DataError(f"{row.where}: {shown(column)} holds half of a surrogate pair, which is no character")
        return value
    if value is None and column not in row.values:
        raise DataError(f"{row.where}: no {shown(column)}, which other rows have; give every row the same keys")
    if value is None or isinstance(value, str) or _is_nan(value):
        said = "null" if value is None else "empty" if isinstance(value, str) else "NaN, an empty cell"
        raise DataError(f"{row.where}: the text {shown(column)} is {said}; fill it or remove the row")
    raise DataError(f"{row.where}: {shown(column)} is {kind(value)}, not a text; put it in quotes if it is one")


def _raw(row: Record, columns: tuple[str, ...]) -> RawLabel:
    if not columns:
        return None
    if len(columns) > 1:
        flags = tuple(_blank(row.values.get(column)) for column in columns)
        return None if all(flag is None for flag in flags) else Flags(columns, flags)
    value = _listed(_blank(row.values.get(columns[0])))
    if isinstance(value, list):
        value = tuple(value)
    for part in value if isinstance(value, tuple) else (value,):
        if not isinstance(part, (str, int, float, Named, type(None))) or (part is None and value is not None):
            raise DataError(f"{row.where}: the label holds {kind(part)}; it is a text, a number or a list of those")
    return value  # type: ignore[return-value]


def _listed(value: object) -> object:
    """A list of labels that stands in a text, as pandas or numpy writes it, or in an object of Label Studio's."""
    if isinstance(value, Mapping) and value.keys() == {"choices"}:
        return value["choices"]
    written = _LIST.fullmatch(value) if isinstance(value, str) else None
    if written is None:
        return value
    try:
        found = _items(written[1])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value
    return value if isinstance(found, str) else found


def _items(written: str) -> object:
    """The list that a text writes; the text where Python would read two of its items as one. Raises what Python does.

    numpy writes lists of texts without commas.
    """
    inside = _QUOTED.sub("''", written)
    if _SPACED.fullmatch(inside):
        return [ast.literal_eval(item) for item in _QUOTED.findall(written)]
    return written if _GLUED.search(inside) else ast.literal_eval(written)


def _blank(value: object) -> object:
    return None if (isinstance(value, str) and not value.strip()) or _is_nan(value) else value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_filled(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip()) and not _is_nan(value)


def say(records: Records, roles: Roles) -> tuple[str, tuple[str, ...]]:
    """What is read of which column, in one sentence, and a warning for each long text that is not."""
    name = file_name(records.source)
    parts = [f"text from {shown(roles.text)}"]
    if roles.pair:
        parts.append(f"second text from {shown(roles.pair)}")
    if roles.labels:
        parts.append(f"label from {some([shown(column) for column in roles.labels])}")
    else:
        parts.append("no label")
    rest = [column for column in records.columns if column not in roles.all]
    ignored = f"; {some([shown(c) for c in rest])} {'is' if len(rest) == 1 else 'are'} not read" if rest else ""
    size = f"{counted(len(records.rows), 'row')}, {counted(len(records.columns), 'column')}"
    note = f"{name}: {size}{records.about}: {', '.join(parts)}{ignored}"
    warnings = [
        f"{name}: {shown(column)} holds long texts and is not read; if the model takes pairs of texts, "
        "name both with --text-column and --pair-column"
        for column in rest
        if not roles.pair and _is_long(records, column)
    ]
    return note, tuple(warnings)


def _is_long(records: Records, column: str) -> bool:
    values = [row.values.get(column) for row in records.rows[:1000]]
    lengths = [len(value) if isinstance(value, str) and " " in value else 0 for value in values]
    return bool(lengths) and median(lengths) >= _LONG
