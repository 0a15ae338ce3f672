"""Data files as a job needs them: read in one way, told, refused before the work begins, checked against the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from pgb_core.config import CompressConfig
from pgb_core.data import Columns, Label, Question, Row, TextRow, read_data, read_labels, unplaced
from pgb_core.data.rows import ORDINARY
from pgb_core.data.words import plain
from pgb_core.errors import DataError
from pgb_core.progress.report import Report
from pgb_core.tasks import trust
from pgb_core.tasks.evaluate import Predict, Subject, answer_f1, best_spans, run
from pgb_core.tasks.features import Features, encode_questions, encode_texts

SAMPLE = {"classification": 512, "qa": 128}  # rows that the dense model is tried on
MOST_LOST = 0.05  # share of questions whose answer has no place, of which training goes without


@dataclass(frozen=True)
class Options:
    """How the caller wants files read: which columns, and whether labels are names, ids or a vector."""

    columns: Columns = ORDINARY
    labels: str | None = None


def options_of(config: CompressConfig, unlabelled: bool = False) -> Options:
    """What the settings say of reading. unlabelled: a file without the label column is taken without labels."""
    columns = Columns(config.text_column, config.pair_column, config.label_column, unlabelled)
    return Options(columns, config.labels)


@dataclass(frozen=True)
class Source:
    """The rows of one file with their targets (for texts), and how its labels were read, in words."""

    name: str
    rows: list[Row]
    targets: list[Label]
    reading: str

    @property
    def short(self) -> str:
        """The name's last part, for what is told."""
        return plain(self.name.rstrip("/").rpartition("/")[2])

    @property
    def texts(self) -> list[TextRow]:
        """The rows of a classification file."""
        return [row for row in self.rows if isinstance(row, TextRow)]

    @property
    def questions(self) -> list[Question]:
        """The rows of a file of questions."""
        return [row for row in self.rows if isinstance(row, Question)]


def read(
    source: str, subject: Subject, options: Options, tell: Report, split: str = "train", labelled: str = ""
) -> Source:
    """All rows, once it is certain what they mean; what was read is told. Raises DataError.

    labelled: what labels are needed for ('--train' or 'evaluation'); without it rows may have none.
    """
    data = read_data(source, subject.task, split, options.columns)
    for text in data.notes:
        tell.note(text)
    for text in data.warnings:
        tell.warn(text)
    if subject.task == "qa":
        if options.labels:
            raise DataError(f"{source}: questions have no --labels; leave it out")
        found = Source(source, data.rows, [], data.notes[0].partition(": ")[2])
    else:
        texts = [row for row in data.rows if isinstance(row, TextRow)]
        told = read_labels(texts, subject.labels, subject.problem_type, options.labels, source)
        tell.note(f"{data.notes[0].partition(': ')[0]}: {told.sentence}")
        found = Source(source, data.rows, told.targets, told.sentence)
    if labelled:
        _refuse_unlabelled(found, labelled)
    return found


def _refuse_unlabelled(found: Source, purpose: str) -> None:
    labels = [row.answers for row in found.questions] or found.targets
    for row, label in zip(found.rows, labels, strict=True):
        if label is None:
            if purpose == "--train":
                raise DataError(f"{row.where}: no label; --train is for labelled rows, --calibrate needs none")
            raise DataError(f"{row.where}: no label; {purpose} needs one in every row")


def encode(
    source: Source, tokenizer: Tokenizer, length: int, stride: int, tell: Report, side: str = "right"
) -> list[Features]:
    """Features to learn from. Questions whose answer has no place in a window are left out, and counted.

    Raises DataError when they are more than a few: they would be learned as unanswerable.
    """
    if not source.questions:
        return encode_texts(source.texts, source.targets, tokenizer, length, side)
    _refuse_many(source, sum(map(unplaced, source.questions)), "is not where the file says, nor once in the context")
    placed = [row for row in source.questions if not unplaced(row)]
    features = encode_questions(placed, tokenizer, length, stride, placed=False)
    whole = {f.row for f in features if f.target != (0, 0)}
    cut = {n for n, row in enumerate(placed) if row.answers and n not in whole}
    _refuse_many(source, len(cut), f"is longer than a window of {length} tokens, which max_length sets,")
    lost = len(source.questions) - len(placed) + len(cut)
    if lost:
        tell.warn(
            f"{source.short}: {lost:,} of {len(source.questions):,} questions are left out of the learning, "
            "for their answer has no place in the context"
        )
    return [f for f in features if f.row not in cut]


def _refuse_many(source: Source, lost: int, why: str) -> None:
    if lost > MOST_LOST * len(source.questions):
        raise DataError(
            f"{source.name}: the answer of {lost:,} of {len(source.questions):,} questions {why} and cannot be "
            f"learned; correct it (at most {MOST_LOST:.0%} may be left out)"
        )


def check(
    subject: Subject,
    predict: Predict,
    tokenizer: Tokenizer,
    train: Source | None,
    held_out: Source | None,
    tell: Report,
    trusted: bool = False,
    seed: int = 0,
) -> dict[str, object]:
    """Try the dense model on a sample of the labels; what was found, for the manifest.

    Raises DataError when it contradicts those to learn from, unless they are `trusted`. Labels to score with
    that it contradicts are a warning.
    """
    found: dict[str, object] = {}
    if train is not None:
        verdict = _judged(train, subject, predict, tokenizer, tell, seed)
        found = {"reading": train.reading, **verdict.figures}
        if verdict.fault and not trusted:
            raise DataError(
                f"{train.name}: the checkpoint contradicts the labels: {verdict.fault}. "
                "Correct them, say how to read them (--labels, --label-column), or go on with --trust-labels"
            )
        if verdict.fault:
            found["doubt"] = verdict.fault
            tell.warn(f"{train.short}: the checkpoint contradicts the labels: {verdict.fault}; --trust-labels goes on")
        else:
            tell.note(f"{train.short}: the checkpoint's {verdict.told}")
    if held_out is not None and (train is None or held_out.name != train.name):
        verdict = _judged(held_out, subject, predict, tokenizer, tell, seed)
        if verdict.fault:
            tell.warn(f"{held_out.short}: the checkpoint contradicts the labels to score with: {verdict.fault}")
    return {"labels": found} if found else {}


def _judged(
    source: Source, subject: Subject, predict: Predict, tokenizer: Tokenizer, tell: Report, seed: int
) -> trust.Verdict:
    labelled = [row.answers for row in source.questions] or source.targets
    usable = np.array([n for n, label in enumerate(labelled) if label not in (None, ())], int)
    picked = np.random.default_rng(seed).permutation(usable)[: SAMPLE[subject.task]].tolist()
    tell.stage("Trying the dense model on the labels", None if subject.task == "qa" else len(picked))
    if subject.task == "qa":
        questions = source.questions
        return _judged_answers([questions[n] for n in picked], subject, predict, tokenizer, tell)
    every = source.texts
    texts, targets = [every[n] for n in picked], [source.targets[n] for n in picked]
    features = encode_texts(texts, targets, tokenizer, min(256, subject.max_length), subject.side)
    if not features:
        return trust.Verdict("no label to try")
    logits = np.stack(run(predict, features, subject.pad_id, progress=tell.advance)).astype(np.float64)
    if subject.problem_type == "regression" or len(subject.labels) == 1:
        return trust.judge_numbers(logits[:, 0], np.array(targets, float))
    if subject.problem_type == "multi_label_classification":
        return trust.judge_many((logits > 0).astype(float), np.array(targets, float), subject.labels)
    wanted = [int(target) for target in targets if isinstance(target, int)]
    return trust.judge_classes(logits.argmax(1).tolist(), wanted, subject.labels)


def _judged_answers(
    rows: Sequence[Question], subject: Subject, predict: Predict, tokenizer: Tokenizer, tell: Report
) -> trust.Verdict:
    features = encode_questions(rows, tokenizer, min(384, subject.max_length), 128)
    logits = run(predict, features, subject.pad_id, progress=tell.advance)
    answers, _ = best_spans(rows, features, logits)
    scores = [
        100 * max(answer_f1(answer, gold) for gold, _ in row.answers or ())
        for answer, row in zip(answers, rows, strict=True)
    ]
    return trust.judge_answers(scores)
