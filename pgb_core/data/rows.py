"""The rows that are read: texts with labels, questions with answers, and notes to show to the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Label = int | float | tuple[float, ...] | None


@dataclass(frozen=True)
class Named:
    """A label of a hub dataset, which gives both its own name and its number."""

    name: str
    id: int


@dataclass(frozen=True)
class Flags:
    """A label written as one column of 0 or 1 for each name."""

    columns: tuple[str, ...]
    values: tuple[object, ...]


Written = str | int | float | Named
RawLabel = Written | tuple[Written, ...] | Flags | None


@dataclass(frozen=True)
class TextRow:
    """A text or a pair of texts, with its label as the file wrote it, and where it stands."""

    text: str
    pair: str | None
    label: RawLabel
    where: str

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts of the row, in order."""
        return (self.text,) if self.pair is None else (self.text, self.pair)

    @property
    def group(self) -> str:
        """What rows that belong together have in common: their texts."""
        return repr((self.text, self.pair))


@dataclass(frozen=True)
class QuestionRow:
    """One SQuAD question.

    `answers` are (text, start character), those with a place first; the place is None where the context
    does not hold the text. Empty when unanswerable, None when unlabelled.
    """

    question: str
    context: str
    answers: tuple[tuple[str, int | None], ...] | None
    where: str

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts of the row, in order."""
        return self.question, self.context

    @property
    def group(self) -> str:
        """What rows that belong together have in common: their context."""
        return self.context


Row = TextRow | QuestionRow


@dataclass(frozen=True)
class Columns:
    """Which columns (of a table) or keys (of JSON) hold what. What is not named is found by ordinary names.

    Several `label` columns hold 0 or 1, one for each label of a multi-label head. unlabelled: a source that lacks
    the label columns is read without labels. texts_alone: no column is read as a label.
    """

    text: str | None = None
    pair: str | None = None
    label: tuple[str, ...] = ()
    unlabelled: bool = False
    texts_alone: bool = False

    def __bool__(self) -> bool:
        return bool(self.text or self.pair or self.label)


ORDINARY = Columns()


@dataclass(frozen=True)
class Record:
    """One row of a table or one JSON object, by column."""

    values: Mapping[str, object]
    where: str


@dataclass(frozen=True)
class Records:
    """All rows of a source before anyone decided what its columns are. `about`: what a reader should know of it."""

    source: str
    columns: tuple[str, ...]
    rows: list[Record]
    about: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """All rows of a source, what was read of it (`notes`), and what may be wrong with it (`warnings`).

    labels: the columns of the label, where there are columns.
    """

    source: str
    rows: list[Row]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
