"""Reads data files for a job: one reading, reported to the user, refused early, and checked against the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np

from pgb_core.config import CompressConfig
from pgb_core.data import Columns, Data, Row, TextRow, read_data
from pgb_core.data.labels import MOST_ABSENT
from pgb_core.data.problems import Problem, problem_of
from pgb_core.data.rows import ORDINARY
from pgb_core.data.words import file_name
from pgb_core.errors import DataError
from pgb_core.inference.batches import Predict, run_all
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.progress.report import Report
from pgb_core.tasks import Source, Subject
from pgb_core.tasks.trust import Verdict

EVALUATION = "evaluation"  # what labels are for that nothing learns from
_REMEDY = (
    "Correct them, say how to read them (--labels, --label-column), name the checkpoint that was trained for them, or "
    "go on with --trust-labels"
)


@dataclass(frozen=True)
class Options:
    """How the caller wants files read: which columns, and whether labels are names, ids or a vector."""

    columns: Columns = ORDINARY
    labels: str | None = None

    @property
    def spares(self) -> bool:
        """Whether labels may be left where they cannot be read: none are needed, and the caller names none."""
        return self.columns.unlabelled and not self.columns.label and self.labels is None


def options_of(config: CompressConfig, unlabelled: bool = False) -> Options:
    """What the settings say of reading. unlabelled: a file without the label column is taken without labels."""
    columns = Columns(config.text_column, config.pair_column, config.label_column, unlabelled)
    return Options(columns, config.labels)


def read(
    source: str, subject: Subject, options: Options, tell: Report, split: str = "train", labelled: str = ""
) -> Source:
    """All rows, once it is certain what they mean; what was read is told. Raises DataError.

    labelled: what labels are needed for ('--train' or EVALUATION); without it rows may have none, and labels that
    nobody asked for and that cannot be read are left.
    """
    spared = not labelled and subject.task.labelled and options.spares
    data, alone = _data(source, subject, options, split, tell, spared)
    for text in data.notes:
        tell.note(text)
    for text in data.warnings:
        tell.warn(text)
    found = _unread(source, data) if alone else _meant(source, data, subject, options, tell, spared)
    if subject.task.labelled:
        tell.note(f"{data.notes[0].partition(': ')[0]}: {found.reading}")
    if doubt := subject.task.doubt(found):
        tell.warn(f"{found.short}: {doubt}")
    if labelled:
        found = _labelled(found, labelled, subject, tell)
    fault = "" if labelled == EVALUATION else subject.task.fault(found, subject)
    if fault:
        raise DataError(f"{source}: {fault}")
    return found


def _data(source: str, subject: Subject, options: Options, split: str, tell: Report, spared: bool) -> tuple[Data, bool]:
    """The rows, and whether they are read without their labels.

    spared: this is done where the column of the labels cannot be read. Raises DataError where the texts cannot either.
    """
    try:
        return read_data(source, subject.task.kind, split, options.columns), False
    except DataError as error:
        if not spared:
            raise
        data = read_data(source, subject.task.kind, split, replace(options.columns, texts_alone=True))
        _tell_spared(source, str(error), tell)
        return data, True


def _meant(source: str, data: Data, subject: Subject, options: Options, tell: Report, spared: bool) -> Source:
    """What the rows mean to the head. spared: without labels where they mean nothing to it, or cannot be learned."""
    try:
        found = subject.task.read(source, data, subject, options.labels)
        fault = subject.task.fault(found, subject) if spared else ""
    except DataError as error:
        if not spared:
            raise
        fault = str(error)
    if not fault:
        return found
    _tell_spared(source, fault, tell)
    return _unread(source, data)


def _unread(source: str, data: Data) -> Source:
    """The rows without their labels."""
    rows = [replace(row, label=None) if isinstance(row, TextRow) else row for row in data.rows]
    return Source(source, rows, [None] * len(rows), "labels are not used")


def _tell_spared(source: str, why: str, tell: Report) -> None:
    """Warn that a file is read without its labels."""
    remedy = (
        "" if "--label-column" in why else "; to use labels, correct them, or name their column with --label-column"
    )
    tell.warn(f"{file_name(source)}: is read without labels, as none are needed here: {why}{remedy}")


def _labelled(found: Source, purpose: str, subject: Subject, tell: Report) -> Source:
    """The rows that have a label. A few without one are left out, and counted; DataError where they are not few.

    An empty label of several may mean that the row has none of them, and a question without an answer that there is
    none, so these are never left out.
    """
    without = [n for n, target in enumerate(found.targets) if target is None]
    if not without:
        return found
    first, every = found.rows[without[0]], len(found.rows)
    if not subject.task.labelled or _several(subject) or len(without) > MOST_ABSENT * every:
        _refuse_unlabelled(found, first, purpose, subject)
    tell.warn(
        f"{found.short}: {len(without):,} of {every:,} rows {'is' if len(without) == 1 else 'are'} left out, as "
        f"{'it has' if len(without) == 1 else 'they have'} no label; the first is {first.where}"
    )
    return found.picked([n for n, target in enumerate(found.targets) if target is not None])


def _refuse_unlabelled(found: Source, first: Row, purpose: str, subject: Subject) -> NoReturn:
    """Raises DataError. first: the row that is named."""
    hint = _hint(found, subject)
    if purpose == "--train":
        raise DataError(f"{first.where}: no label; --train is for labelled rows, --calibrate needs none{hint}")
    raise DataError(f"{first.where}: no label; {purpose} needs one in every row{hint}")


def _several(subject: Subject) -> bool:
    """Whether the head gives several labels."""
    return subject.task.labelled and problem_of(subject.problem, len(subject.labels)) is Problem.MULTI_LABEL


def _hint(found: Source, subject: Subject) -> str:
    """What to do about rows without a label, where there is more to say."""
    labelled = subject.task.labelled
    without = sum(target is None for target in found.targets)
    if without < len(found.targets):
        if _several(subject):
            return "; for none of the labels write 0 for each, or [] in .jsonl"
        few = f"; {without:,} of {len(found.targets):,} rows have none, and at most {MOST_ABSENT:.0%} may be left out"
        return few if labelled else ""
    if ".txt" in Path(found.name).suffixes:
        return "; no row has one: a .txt file holds texts alone"
    place = "--label-column names the column of the labels" if labelled else "they are read from 'answers'"
    return f"; no row has one: {place}"


@dataclass(frozen=True)
class Trial:
    """A dense model to hold against labels. trusted: go on though it contradicts them. promising: whether something is
    promised by the labels to score with, so that they count as much as those to learn from.
    """

    subject: Subject
    tokenizer: Tokenizer
    predict: Predict
    tell: Report
    trusted: bool = False
    promising: bool = False
    seed: int = 0

    def check(self, train: Source | None, held_out: Source | None) -> dict[str, object]:
        """Try the model on a sample of the labels, once where both are the same rows; what was found, for the manifest.

        Raises DataError when it contradicts those to learn from, unless they are `trusted`. Labels to score with
        that it contradicts are a warning, or an error, too, where something is promised by them.
        """
        found: dict[str, object] = {}
        if train is not None:
            verdict = self._judged(train)
            found = {"reading": train.reading, **verdict.figures}
            fault = verdict.fault or verdict.unlearnable
            if fault and not self.trusted:
                raise DataError(f"{train.name}: the checkpoint contradicts the labels: {fault}. {_REMEDY}")
            if fault:
                found["doubt"] = fault
                self.tell.warn(f"{train.short}: the checkpoint contradicts the labels: {fault}; --trust-labels goes on")
            else:
                self.tell.note(f"{train.short}: the checkpoint's {verdict.told}")
        if held_out is not None and (train is None or held_out.rows != train.rows):  # names of splits are equal
            verdict = self._judged(held_out)
            said = f"the checkpoint contradicts the labels to score with: {verdict.fault}"
            if verdict.fault and self.promising and not self.trusted:
                raise DataError(f"{held_out.name}: {said}. No loss can be promised by them. {_REMEDY}")
            if verdict.fault:
                self.tell.warn(f"{held_out.short}: {said}")
        return {"labels": found} if found else {}

    def _judged(self, source: Source) -> Verdict:
        task = self.subject.task
        usable = np.array([n for n, target in enumerate(source.targets) if target not in (None, ())], int)
        picked = np.random.default_rng(self.seed).permutation(usable)[: task.sample].tolist()
        self.tell.stage(f"Trying the model on the labels of {source.short}", None if task.windows else len(picked))
        run = partial(run_all, self.predict, progress=self.tell.advance)
        return task.judge(source.picked(picked), self.subject, self.tokenizer, run)
