"""Decides how to read the labels of a whole file: as names, ids, vectors or numbers. If two fit, the user is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NoReturn

from pgb_core.data.numbers import flag, has_point, real, truth, whole_number
from pgb_core.data.problems import Problem, problem_of
from pgb_core.data.readings import Names, Reader, many, single
from pgb_core.data.rows import Flags, Label, Named, RawLabel, TextRow, Written
from pgb_core.data.words import counted, number, shown, some
from pgb_core.errors import DataError

MOST_ABSENT = 0.05  # share of rows whose label may be written as one that stands for none
_NONE = "-"  # SNLI has it where the annotators did not agree


@dataclass(frozen=True)
class LabelReading:
    """How the labels of a file were read.

    kind: names, ids, vector, columns, numbers, or none where no row has a label. targets: of each row what the head
    wants (an index, a float, a vector of 0 and 1), None without a label. sentence: the same in words.
    """

    kind: str
    targets: list[Label]
    sentence: str


def read_labels(
    rows: Sequence[TextRow],
    labels: Sequence[str],
    problem_type: str | None,
    wanted: str | None = None,
    source: str = "labels",
    columns: Sequence[str] = (),
) -> LabelReading:
    """Decide over all rows how their labels are written. Raises DataError when no reading fits, or two that differ.

    labels: the head's, by index. wanted: 'names', 'ids' or 'vector', which settles the question. source: what errors
    begin with. columns: where the labels stand.
    """
    problem = problem_of(problem_type, len(labels))
    _check_wanted(wanted, problem, source)
    if problem is not Problem.MULTI_LABEL:
        rows = [_alone(row) for row in rows]
    given = [row for row in rows if row.label is not None]
    if not given:
        return LabelReading("none", [None] * len(rows), "no row has a label")
    if problem is Problem.REGRESSION:
        return _regression(rows, given, len(labels), source, problem_type != Problem.REGRESSION)
    asked = _Asked(Names(labels), problem is Problem.MULTI_LABEL, wanted, source)
    rows, asked = _without_marks(rows, asked)
    given = [row for row in rows if row.label is not None]
    _check_flags(given, asked, columns)
    if any(isinstance(row.label, Flags) for row in given):
        return _columns(rows, asked)
    return _classes(rows, given, asked)


@dataclass(frozen=True)
class _Asked:
    """What labels are read for. names: of the head. multiple: whether it gives several.

    wanted, source: as `read_labels` has them. marks: the labels that are read as none, in words.
    """

    names: Names
    multiple: bool
    wanted: str | None
    source: str
    marks: str = ""


def _without_marks(rows: Sequence[TextRow], asked: _Asked) -> tuple[Sequence[TextRow], _Asked]:
    """The rows, those without a label whose label is a mark of none; nothing is changed where these are not few."""
    found = [] if asked.multiple else _marked(rows, asked.names)
    if not 0 < len(found) <= MOST_ABSENT * len(rows):
        return rows, asked
    marks = some(dict.fromkeys(shown(rows[n].label) for n in found))
    marked = set(found)
    plain = [replace(row, label=None) if n in marked else row for n, row in enumerate(rows)]
    return plain, replace(asked, marks=f" ({marks} stands for none)")


def _marked(rows: Sequence[TextRow], names: Names) -> list[int]:
    """The places of rows with '-', and of those with -1 where the others are whole numbers; none of a name's own."""
    dashes = [n for n, row in enumerate(rows) if isinstance(row.label, str) and row.label.strip() == _NONE]
    if names.find(_NONE) is not None:
        dashes = []
    known = set(dashes)
    numbers = {n: whole_number(row.label) for n, row in enumerate(rows) if row.label is not None and n not in known}
    if names.find("-1") is not None or None in numbers.values():
        return dashes
    return sorted([*dashes, *(n for n, value in numbers.items() if value == -1)])


def _check_wanted(wanted: str | None, problem: Problem, source: str) -> None:
    """Raises DataError when labels of this kind are none of such a head."""
    regression, multiple = problem is Problem.REGRESSION, problem is Problem.MULTI_LABEL
    if wanted and (regression or (wanted == "vector" and not multiple)):
        head = "gives a number" if regression else "picks one label"
        raise DataError(f"{source}: --labels {wanted} does not fit, the head {head}; leave it out")


def _regression(
    rows: Sequence[TextRow], given: Sequence[TextRow], numbers: int, source: str, probability: bool
) -> LabelReading:
    """The labels as numbers. numbers: that the head gives. probability: whether its one number is one."""
    if numbers > 1:
        raise DataError(
            f"{source}: the head gives {numbers} numbers, and labels for such a head are not supported; use texts "
            "without labels, with --calibrate"
        )
    return _unlabelled(rows) if len(given) > 1 and _minus_one(given) else _numbers(rows, probability)


def _check_flags(given: Sequence[TextRow], asked: _Asked, columns: Sequence[str]) -> None:
    """Raises DataError when the one column of labels has 0 and 1 for one of the head's labels alone."""
    names = asked.names
    whose = names.find(columns[0]) if len(columns) == 1 else None
    # Ids of a head of two say the same.
    said = asked.multiple or (not asked.wanted and (len(names.labels), whose) != (2, 1))
    if said and whose is not None and all(_is_flag(row) for row in given):
        one = (
            "a column for each, with --label-column" if asked.multiple else "a column that holds the label of each row"
        )
        raise DataError(
            f"{asked.source}: the column {shown(columns[0])} has 0 and 1 for one of the head's labels, "
            f"{some(names.labels)}; name {one}"
        )


def _classes(rows: Sequence[TextRow], given: Sequence[TextRow], asked: _Asked) -> LabelReading:
    """The labels as names, ids or vectors."""
    names, wanted = asked.names, asked.wanted
    readings = many(names) if asked.multiple else single(names)
    found = {kind: _read(reader, given) for kind, reader in readings.items()}
    if not wanted and _crossed(given, names):
        del found["ids"]
    fitting = [kind for kind, targets in found.items() if None not in targets]
    if not wanted and "names" in fitting and all(_is_named(row.label) for row in given):
        fitting = ["names"]  # the dataset's own ids need not be the head's
    if wanted and wanted not in fitting:
        _refuse_row(given, {wanted: found[wanted]}, asked)
    if not fitting and not asked.multiple and _minus_one(given):
        return _unlabelled(rows)
    if not fitting:
        _refuse_row(given, found, asked)
    if not wanted:
        _ask(given, {kind: found[kind] for kind in fitting}, asked)
    kind = wanted or _plainest(fitting, given)
    targets = iter(found[kind])
    every = [None if row.label is None else next(targets) for row in rows]
    return LabelReading(kind, every, _sentence(kind, every, names, _written(given, kind)) + asked.marks)


def _alone(row: TextRow) -> TextRow:
    """A row whose label is a list of one, as doccano writes it, with that one; without a label for an empty list."""
    if not isinstance(row.label, tuple) or len(row.label) > 1:
        return row
    return replace(row, label=row.label[0] if row.label else None)


def _read(reader: Reader, given: Sequence[TextRow]) -> list[Label]:
    """What each label means; each text or number is looked at once."""
    once = lru_cache(maxsize=None, typed=True)(reader)  # 1, 1.0 and true are equal, and not the same
    return [reader(row.label) if isinstance(row.label, tuple) else once(row.label) for row in given]


def _minus_one(given: Sequence[TextRow]) -> bool:
    """Whether every label is -1, as in the test sets of GLUE."""
    return all(whole_number(row.label) == -1 for row in given)


def _unlabelled(rows: Sequence[TextRow]) -> LabelReading:
    return LabelReading("none", [None] * len(rows), "every label is -1, which stands for no label")


def _is_flag(row: TextRow) -> bool:
    return not isinstance(row.label, (tuple, Flags)) and flag(row.label) is not None


def _parts(label: RawLabel) -> tuple[Written | Flags | None, ...]:
    return label if isinstance(label, tuple) else (label,)


def _is_named(label: RawLabel) -> bool:
    return all(isinstance(part, Named) for part in _parts(label))


def _crossed(given: Sequence[TextRow], names: Names) -> bool:
    """Whether the dataset's number for a label is another than the head's for its name."""
    parts = {part for row in given for part in _parts(row.label) if isinstance(part, Named)}
    return any(names.find(part) not in (None, part.id) for part in parts)


def _plainest(fitting: Sequence[str], given: Sequence[TextRow]) -> str:
    """The reading to tell, out of those that mean the same: ids where numbers are written."""
    numbers = all(whole_number(row.label) is not None for row in given)
    return "ids" if numbers and "ids" in fitting else fitting[0]


def _ask(given: Sequence[TextRow], found: dict[str, list[Label]], asked: _Asked) -> None:
    """Raises DataError where two readings that fit mean different labels."""
    said = {kind: _ONE.get(kind, kind) for kind in found}
    first, *others = found
    for n, row in enumerate(given):
        other = next((kind for kind in others if found[kind][n] != found[first][n]), None)
        if other is not None:
            meant = [f"as {said[k]} {shown(row.label)} is {_meaning(found[k][n], asked.names)}" for k in (first, other)]
            raise DataError(
                f"{asked.source}: the labels can be read as {' or as '.join(said.values())}: {'; '.join(meant)} "
                f"({row.where}). Say {' or '.join(f'--labels {kind}' for kind in found)}"
            )


def _meaning(target: Label, names: Names) -> str:
    hot = [n for n, value in enumerate(target) if value] if isinstance(target, tuple) else [int(target or 0)]
    return some([f"label {n} ({names.labels[n]})" for n in hot], 4) or "no label"


def _refuse_row(given: Sequence[TextRow], found: dict[str, list[Label]], asked: _Asked) -> None:
    """Name the first row that does not fit the reading which most rows fit."""
    kind = max(found, key=lambda k: sum(target is not None for target in found[k]))
    at = found[kind].index(None)
    row, names, multiple = given[at], asked.names, asked.multiple
    n = len(names.labels)
    said = f"{row.where}: label {shown(row.label)} is not one of the checkpoint's: {some(names.labels)}"
    if isinstance(row.label, (tuple, Flags)) and not multiple:
        raise DataError(f"{row.where}: several labels, {_PICKS_ONE}; or else give one label a row")
    others = [other for other, targets in found.items() if targets[at] is not None]
    fits = sum(target is not None for target in found[kind])
    if others and fits:
        where = next(r.where for r, target in zip(given, found[kind], strict=True) if target is not None)
        raise DataError(
            f"{row.where}: label {shown(row.label)} does not read as {_ONE.get(kind, kind)}, but that of {where} does; "
            "write all labels in one way"
        )
    distinct = list(dict.fromkeys(shown(r.label) for r in given))
    hints = []
    numbers = [whole_number(r.label) for r in given]
    if len(distinct) > n and not multiple:
        hints.append(f"the head has {counted(n, 'label')}, the file has {len(distinct):,}: {some(distinct)}")
    if None not in numbers and min(v for v in numbers if v is not None) == 1 and max(map(int, numbers)) == n:  # type: ignore[arg-type]
        hints.append("ids start at 0")
    if multiple:
        hints.append("write names or ids with ; between them, or a 0 or 1 for each label")
    if kind == "ids":
        hints.append(f"ids are 0 to {n - 1}")
    hints = hints or ["correct it, or name the labels in the checkpoint's id2label"]
    raise DataError(f"{said}; {'; '.join(hints)}")


def _written(given: Sequence[TextRow], kind: str) -> str:
    """How ids are written where that is not 0, 1, ...: with a point, as pandas does beside empty cells, or as true."""
    parts = [part for row in given for part in _parts(row.label)]
    point = next((part for part in parts if has_point(part)), None)
    said = []
    if point is not None:
        written = point.strip() if isinstance(point, str) else f"{point:.1f}"
        said.append(f"{written} for {whole_number(point)}")
    if kind != "names" and any(truth(part) is not None for part in parts):
        said.append(_TRUTH)
    return f" (written with {', '.join(said)})" if said else ""


def _sentence(kind: str, targets: Sequence[Label], names: Names, written: str = "") -> str:
    counts: Counter[int] = Counter()
    missing = 0
    for target in targets:
        if target is None:
            missing += 1
        elif isinstance(target, tuple):
            counts.update(n for n, value in enumerate(target) if value)
        else:
            counts[int(target)] += 1
    said = "{name} ({count:,})" if kind == "names" else "{n} is {name} ({count:,})"
    told = some([said.format(n=n, name=name, count=counts[n]) for n, name in enumerate(names.labels)])
    start = f"labels are ids 0..{len(names.labels) - 1}" if kind == "ids" else f"labels are {_AS.get(kind, kind)}"
    rest = f"; {counted(missing, 'row has', 'rows have')} no label" if missing else ""
    return f"{start}{written}: {told}{rest}"


_AS = {"vector": "vectors of 0 and 1"}
_ONE = {"vector": "a vector"}
_TRUTH = "true for 1, false for 0"
_PICKS_ONE = (
    "but the checkpoint picks one label; if it learned to give several, write "
    '"problem_type": "multi_label_classification" into its config.json'
)


def _columns(rows: Sequence[TextRow], asked: _Asked) -> LabelReading:
    names, source = asked.names, asked.source
    columns = next(row.label.columns for row in rows if isinstance(row.label, Flags))
    if not asked.multiple:
        raise DataError(f"{source}: several label columns, {_PICKS_ONE}; or else write the label into one column")
    if asked.wanted:
        raise DataError(f"{source}: --labels {asked.wanted} does not fit label columns of 0 and 1; leave it out")
    order = [names.find(column) for column in columns]
    if all(found is None for found in order):
        order = list(range(len(columns)))
    if None in order or len(set(order)) < len(order) or len(order) != len(names.labels):
        raise DataError(
            f"{source}: the label columns {some(map(shown, columns))} are not the head's {len(names.labels)} labels "
            f"({some(names.labels)}); name one column for each"
        )
    targets: list[Label] = []
    for row in rows:
        if row.label is None:
            targets.append(None)
            continue
        values = row.label.values if isinstance(row.label, Flags) else ()
        flags: list[float] = [0.0] * len(columns)
        for column, place, value in zip(columns, order, values, strict=True):
            found = flag(value)
            if found is None or place is None:
                raise DataError(f"{row.where}: column {shown(column)} has {shown(value)}; a label column holds 0 or 1")
            flags[place] = found
        targets.append(tuple(flags))
    pairs = some([f"{column} is {names.labels[place or 0]}" for column, place in zip(columns, order, strict=True)])
    said = _sentence("columns", targets, names).partition(": ")[2]
    return LabelReading("columns", targets, f"labels are columns of 0 and 1: {pairs}; {said}")


def _numbers(rows: Sequence[TextRow], probability: bool) -> LabelReading:
    """The labels as numbers. probability: whether the head gives one, so that true is 1 and false is 0."""
    targets: list[Label] = [None if row.label is None else _real(row, probability) for row in rows]
    found = [float(target) for target in targets if isinstance(target, (int, float))]
    missing = len(rows) - len(found)
    rest = f"; {counted(missing, 'row has', 'rows have')} no label" if missing else ""
    mean = sum(value / len(found) for value in found)
    low, high = number(min(found)), number(max(found))
    written = f" (written with {_TRUTH})" if any(truth(row.label) is not None for row in rows) else ""
    return LabelReading("numbers", targets, f"labels are numbers{written} from {low} to {high}, mean {mean:.6g}{rest}")


def _real(row: TextRow, probability: bool) -> float:
    said = truth(row.label) if probability else None
    found = real(row.label) if said is None else float(said)
    if found is None:
        _refuse_number(row, probability)
    return found


def _refuse_number(row: TextRow, probability: bool) -> NoReturn:
    """Raises DataError for a label that is no number."""
    head = "head gives a probability" if probability else "model is a regression"
    said = f"{row.where}: label {_raw(row.label)} is not a number, and the {head}"
    text = row.label.strip() if isinstance(row.label, str) else ""
    if "," in text and real(text.replace(",", ".")) is not None:
        raise DataError(f"{said}; write a decimal point, not a comma")
    if probability:
        raise DataError(f"{said}; write a number from 0 to 1, or true or false")
    if truth(row.label) is not None:
        raise DataError(f"{said}; write 1 for true and 0 for false if these are its numbers")
    raise DataError(f"{said}; write a finite number with a decimal point")


def _raw(label: RawLabel) -> str:
    return "in several columns" if isinstance(label, Flags) else shown(label)
