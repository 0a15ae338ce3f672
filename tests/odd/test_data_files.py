"""Right or refused: every odd file is read as it was meant, or refused in one or two plain lines.

`python -m tests.odd.test_data_files 2000` tries so many seeds.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import pytest

from pgb_core.data import Columns, QuestionRow, TextRow
from pgb_core.errors import PGBError
from pgb_core.run.reading import Options, read
from pgb_core.tasks import TASKS, Source, Subject
from tests.odd.data_files import OddFile, make
from tests.reports import Heard

CI = 300
JARGON = re.compile(
    r"Traceback|NoneType|KeyError|TypeError|ValueError|expected str|<class|object at 0x|\bNone\b|\bTrue\b|\bFalse\b|"
    r"\bdict\b|\bstr\b|\bint\b|codec|\\\\x|surrogateescape"
)


def attempt(odd: OddFile, folder: Path, labels: str | None = None) -> tuple[Source | None, str, list[str]]:
    """What was read, or the message; and what was told."""
    path = folder / odd.name
    if odd.content is None:
        path.mkdir(exist_ok=True)
    else:
        path.write_bytes(odd.content)
    label = odd.options.get("label", ())
    columns = Columns(
        odd.options.get("text"),  # type: ignore[arg-type]
        odd.options.get("pair"),  # type: ignore[arg-type]
        (label,) if isinstance(label, str) else tuple(label),  # type: ignore[arg-type]
    )
    subject = Subject(TASKS[odd.task], odd.labels, odd.problem)
    told = Heard()
    try:
        return read(str(path), subject, Options(columns, labels), told), "", told.said
    except PGBError as error:
        return None, str(error), told.said


def judge(odd: OddFile, folder: Path) -> str:
    """What is wrong with what the product did; empty when nothing is."""
    found, message, lines = attempt(odd, folder)
    for text in (message, *lines):
        plain = text.replace(str(folder), "")
        if JARGON.search(re.sub(r"'[^']*'", "", plain)) or (not text.isprintable() and odd.name.isprintable()):
            return f"not plain: {text!r}"
        if len(plain) > 600:
            return f"too long: {text!r}"
    if found is None:
        name = odd.name.encode("unicode_escape").decode()
        return "" if odd.name in message or name in message else f"the message does not name the file: {message!r}"
    if odd.refused:
        return f"was read, though nothing can be meant: {lines}"
    if odd.rows is None:
        return ""
    ours = [
        (row.text, row.pair, target) if isinstance(row, TextRow) else (row.question, row.context, row.answers)
        for row, target in zip(found.rows, found.targets or [None] * len(found.rows), strict=True)
    ]
    if len(ours) != len(odd.rows):
        return f"{len(ours)} rows, not {len(odd.rows)}"
    for given, meant in zip(ours, odd.rows, strict=True):
        if given != meant:
            return f"read {given!r}, meant {meant!r}; told {lines}"
    if not lines:
        return "nothing was told"
    return _told_wrongly(found, odd, lines)


def _told_wrongly(found: Source, odd: OddFile, lines: list[str]) -> str:
    """Whether what was said differs from what was done: counts of each label, or of answers."""
    said = " ".join(lines)
    if odd.task == "qa":
        answered = sum(isinstance(row, QuestionRow) and bool(row.answers) for row in found.rows)
        return "" if not answered or f"{answered:,} answered" in said else f"answered: {said}"
    if odd.problem is None and any(target is not None for target in found.targets):
        for n, name in enumerate(odd.labels):
            count = found.targets.count(n)
            if f"{name} ({count:,})" not in said:
                return f"{name} is said to be elsewhere: {said}"
    return ""


def failures(seeds: range, folder: Path) -> list[str]:
    """A line for each seed whose file was treated wrongly."""
    found = []
    for seed in seeds:
        odd = make(seed)
        try:
            wrong = judge(odd, folder)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            found.append(f"seed {seed}, {odd.name!r}: {wrong}\n    {(odd.content or b'')[:300]!r} {odd.options}")
    return found


def trials(count: int) -> dict[str, int]:
    """How many of so many files were read, refused, and treated wrongly."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wrong = failures(range(count), folder)
        read = sum(attempt(make(seed), folder)[0] is not None for seed in range(count))
    print("\n".join(wrong))
    return {"read": read, "refused": count - read, "wrong": len(wrong)}


def test_odd_files_are_read_as_meant_or_refused(tmp_path: Path) -> None:
    """For every seed."""
    assert failures(range(CI), tmp_path) == []


def test_the_generator_is_pure_and_most_plain_files_are_read(tmp_path: Path) -> None:
    """The same seed, the same file; and refusing everything would not pass for being right."""
    assert all(make(seed) == make(seed) for seed in range(40))
    meant = [odd for odd in map(make, range(CI)) if odd.rows is not None]
    read_well = sum(attempt(odd, tmp_path)[0] is not None for odd in meant)
    assert read_well >= 0.6 * len(meant)


@pytest.mark.parametrize("labels", ["names", "ids", "vector"])
def test_no_reading_that_is_asked_for_breaks(labels: str, tmp_path: Path) -> None:
    """Whatever the file holds."""
    for seed in range(80):
        attempt(make(seed), tmp_path, labels)


if __name__ == "__main__":
    done = trials(int(sys.argv[1]))
    print(done)
    sys.exit(bool(done["wrong"]))
