"""GLUE and SQuAD metrics by their official definitions, and models measured with them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pgb_core.checkpoints.load import Checkpoint
from pgb_core.data import Label, Question, Row, TextRow, label_targets
from pgb_core.errors import DataError
from pgb_core.model.encoder import Encoder
from pgb_core.tasks.features import Batch, Features, batches, encode_questions, encode_texts
from pgb_core.tasks.metrics import Metrics, classification_metrics

Predict = Callable[[Batch], NDArray[np.float32]]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Subject:
    """What must be known of a model to score it."""

    task: str
    labels: tuple[str, ...]
    problem_type: str | None
    max_length: int
    pad_id: int
    side: str = "right"


def subject_of(checkpoint: Checkpoint) -> Subject:
    """What must be known of a checkpoint."""
    return Subject(
        checkpoint.task,
        checkpoint.labels,
        checkpoint.problem_type,
        checkpoint.max_length,
        checkpoint.model.config.pad_id,
        checkpoint.reading.side,
    )


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """SQuAD's comparison form: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    """1 when equal after normalisation."""
    return float(normalize_answer(answer) == normalize_answer(gold))


def answer_f1(answer: str, gold: str) -> float:
    """Word overlap; an empty side scores 1 only against an empty side (SQuAD 2.0)."""
    words, wanted = normalize_answer(answer).split(), normalize_answer(gold).split()
    if not words or not wanted:
        return float(words == wanted)
    common = sum((Counter(words) & Counter(wanted)).values())
    return 2 * common / (len(words) + len(wanted))


def squad_metrics(rows: Sequence[Question], answers: Sequence[str], no_answer: Sequence[float]) -> dict[str, float]:
    """EM and F1 in percent; on data with unanswerable questions also at the best no-answer threshold.

    no_answer: for each question the score of no answer minus that of the best answer.
    """
    gold = [[t for t, _ in row.answers or () if normalize_answer(t)] or [""] for row in rows]
    em = [max(exact_match(a, g) for g in golds) for a, golds in zip(answers, gold, strict=True)]
    f1s = [max(answer_f1(a, g) for g in golds) for a, golds in zip(answers, gold, strict=True)]
    found = {"exact_match": 100 * float(np.mean(em)), "f1": 100 * float(np.mean(f1s))}
    unanswerable = [golds == [""] for golds in gold]
    if any(unanswerable):
        for name, scores in (("exact_match", em), ("f1", f1s)):
            best, threshold = _best_threshold(scores, no_answer, unanswerable)
            found[f"best_{name}"] = 100 * best
            found[f"best_{name}_threshold"] = threshold
    return found


def _best_threshold(scores: Sequence[float], no_answer: Sequence[float], empty: Sequence[bool]) -> tuple[float, float]:
    """Answer where `no_answer` is at or below the threshold: the best mean score and its threshold."""
    order = sorted(range(len(scores)), key=lambda i: no_answer[i])
    start = float(sum(empty))
    totals = list(accumulate((scores[i] - float(empty[i]) for i in order), initial=start))
    # Answers to unanswerable questions score by themselves: 0, or 1 when already empty.
    best = max(range(len(totals)), key=lambda k: totals[k])
    threshold = no_answer[order[best - 1]] if best else min(no_answer, default=0.0) - 1.0
    return totals[best] / len(scores), float(threshold)


def best_spans(
    rows: Sequence[Question], features: Sequence[Features], logits: Sequence[NDArray[np.float32]], longest: int = 30
) -> tuple[list[str], list[float]]:
    """The best answer of each question over its windows, and its no-answer margin.

    logits: [tokens, 2] for each feature. A span has at most `longest` tokens, all in the context.
    """
    best: list[tuple[float, str]] = [(-np.inf, "")] * len(rows)
    null = [np.inf] * len(rows)
    for feature, scores in zip(features, logits, strict=True):
        assert feature.offsets is not None
        inside = np.array([offset is not None for offset in feature.offsets])
        size = len(inside)
        start = np.where(inside, scores[:size, 0], -np.inf)
        end = np.where(inside, scores[:size, 1], -np.inf)
        total = start[:, None] + end[None, :]
        total[~np.tri(size, size, longest - 1, dtype=bool) | np.tri(size, size, -1, dtype=bool)] = -np.inf
        at = int(total.argmax())
        s, e = divmod(at, size)
        null[feature.row] = min(null[feature.row], float(scores[0, 0] + scores[0, 1]))
        if total[s, e] > best[feature.row][0]:
            first, last = feature.offsets[s], feature.offsets[e]
            if first is not None and last is not None:
                best[feature.row] = (float(total[s, e]), rows[feature.row].context[first[0] : last[1]])
    return [text for _, text in best], [n - score for n, (score, _) in zip(null, best, strict=True)]


def torch_predictor(model: Encoder) -> Predict:
    """The model on its own device, in float32: logits [batch, labels], or [batch, tokens, 2]."""
    device = next(model.parameters()).device

    def predict(batch: Batch) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = model(*batch.to(device).inputs).float().cpu().numpy()
            return logits

    return predict


def run(
    predict: Predict, features: Sequence[Features], pad_id: int, tokens: int = 4096, progress: Progress = lambda n: None
) -> list[NDArray[np.float32]]:
    """Logits of each feature, in the order given; span scores keep only the feature's own tokens."""
    position = {id(feature): n for n, feature in enumerate(features)}
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(features)
    for batch in batches(features, tokens, pad_id):
        logits = predict(batch)
        for row, feature in zip(logits, batch.features, strict=True):
            found[position[id(feature)]] = row[: len(feature.ids)] if logits.ndim == 3 else row
        progress(len(batch.features))
    return found


def targets_of(rows: Sequence[Row], subject: Subject, labels: str | None = None) -> list[Label]:
    """Targets of texts, in the one reading of all of them. Raises DataError as `data.read_labels` does.

    labels: names, ids or vector, where the rows could be read in two ways.
    """
    texts = [row for row in rows if isinstance(row, TextRow)]
    return label_targets(texts, subject.labels, subject.problem_type, labels)


def check_labels(rows: Sequence[Row], subject: Subject, labels: str | None = None) -> None:
    """Raises DataError at the first row without a label, or with one that is not the model's."""
    targets = iter(targets_of(rows, subject, labels))
    for row in rows:
        if (row.answers if isinstance(row, Question) else next(targets)) is None:
            raise DataError(f"{row.where}: no label; evaluation needs one in every row")


def evaluate(
    predict: Predict,
    rows: Sequence[Row],
    tokenizer: Tokenizer,
    subject: Subject,
    progress: Progress = lambda n: None,
    labels: str | None = None,
) -> Metrics:
    """Metrics of a model on labelled rows. Raises DataError as `check_labels` does.

    On data with unanswerable questions EM and F1 are of a model that says nothing where that scores
    higher than its best answer; `best_…` are those at the best threshold for it.
    """
    check_labels(rows, subject, labels)
    if subject.task == "qa":
        questions = [row for row in rows if isinstance(row, Question)]
        features = encode_questions(questions, tokenizer, min(384, subject.max_length), 128)
        logits = run(predict, features, subject.pad_id, progress=progress)
        answers, margins = best_spans(questions, features, logits)
        found = squad_metrics(questions, answers, margins)
        if all(question.answers for question in questions):
            return Metrics(found)
        silent = ["" if margin > 0 else answer for answer, margin in zip(answers, margins, strict=True)]
        plain = squad_metrics(questions, silent, margins)
        return Metrics({**found, "exact_match": plain["exact_match"], "f1": plain["f1"]})
    texts = [row for row in rows if isinstance(row, TextRow)]
    targets = targets_of(rows, subject, labels)
    features = encode_texts(texts, targets, tokenizer, subject.max_length, subject.side)
    logits = run(predict, features, subject.pad_id, progress=progress)
    return classification_metrics(np.stack(logits), targets, subject.problem_type)
