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
from scipy import stats
from tokenizers import Tokenizer

from pgb_core.data import Question, Row, TextRow, label_targets
from pgb_core.errors import DataError
from pgb_core.features import Batch, Features, batches, encode_questions, encode_texts
from pgb_core.nn.encoder import Encoder

Array = NDArray[np.float64]
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


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def accuracy(predicted: Array, gold: Array) -> float:
    """Share of equal entries; rows for two-dimensional input."""
    equal = predicted == gold
    return float(equal.all(-1).mean() if equal.ndim > 1 else equal.mean())


def f1(predicted: Array, gold: Array) -> float:
    """F1 of the positive class, micro-averaged over columns for multi-label input; 0 without positives."""
    hits = float(np.sum((predicted == 1) & (gold == 1)))
    total = float(np.sum(predicted == 1) + np.sum(gold == 1))
    return 2 * hits / total if total else 0.0


def matthews(predicted: Array, gold: Array) -> float:
    """Matthews correlation for any number of classes (Gorodkin 2004); 0 where it is undefined."""
    classes = np.union1d(predicted, gold)
    p = (predicted[:, None] == classes).astype(float)
    g = (gold[:, None] == classes).astype(float)
    p, g = p - p.mean(0), g - g.mean(0)
    scale = float(np.sqrt((p * p).sum() * (g * g).sum()))
    return float((p * g).sum()) / scale if scale else 0.0


def classification_metrics(
    logits: NDArray[np.float32], gold: Sequence[object], problem_type: str | None
) -> dict[str, float]:
    """Accuracy, F1 (two classes or many labels) and Matthews; Pearson and Spearman for a regression.

    logits: [rows, labels]; gold as `data.label_targets` gives it.
    """
    target = np.asarray(gold, dtype=np.float64)
    if problem_type == "regression" or logits.shape[1] == 1:
        if len(target) < 2:
            raise DataError("a correlation needs two rows or more")
        scores = logits[:, 0].astype(np.float64)
        return {
            "pearson": float(stats.pearsonr(scores, target).statistic),
            "spearman": float(stats.spearmanr(scores, target).statistic),
        }
    if problem_type == "multi_label_classification":
        predicted = (logits > 0).astype(np.float64)
        return {"accuracy": accuracy(predicted, target), "f1": f1(predicted, target)}
    predicted = logits.argmax(1).astype(np.float64)
    found = {"accuracy": accuracy(predicted, target)}
    if logits.shape[1] == 2:
        found["f1"] = f1(predicted, target)
    found["matthews"] = matthews(predicted, target)
    return found


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


def check_labels(rows: Sequence[Row], subject: Subject) -> None:
    """Raises DataError at the first row without a label, or with one that is not the model's."""
    texts = [row for row in rows if isinstance(row, TextRow)]
    targets = iter(label_targets(texts, subject.labels, subject.problem_type))
    for row in rows:
        if (row.answers if isinstance(row, Question) else next(targets)) is None:
            raise DataError(f"{row.where}: no label; evaluation needs one in every row")


def evaluate(
    predict: Predict,
    rows: Sequence[Row],
    tokenizer: Tokenizer,
    subject: Subject,
    progress: Progress = lambda n: None,
) -> dict[str, float]:
    """Metrics of a model on labelled rows. Raises DataError as `check_labels` does.

    On data with unanswerable questions EM and F1 are of a model that says nothing where that scores
    higher than its best answer; `best_…` are those at the best threshold for it.
    """
    check_labels(rows, subject)
    if subject.task == "qa":
        questions = [row for row in rows if isinstance(row, Question)]
        features = encode_questions(questions, tokenizer, min(384, subject.max_length), 128)
        logits = run(predict, features, subject.pad_id, progress=progress)
        answers, margins = best_spans(questions, features, logits)
        found = squad_metrics(questions, answers, margins)
        if all(question.answers for question in questions):
            return found
        silent = ["" if margin > 0 else answer for answer, margin in zip(answers, margins, strict=True)]
        plain = squad_metrics(questions, silent, margins)
        return {**found, "exact_match": plain["exact_match"], "f1": plain["f1"]}
    texts = [row for row in rows if isinstance(row, TextRow)]
    targets = label_targets(texts, subject.labels, subject.problem_type)
    features = encode_texts(texts, targets, tokenizer, subject.max_length, subject.side)
    logits = run(predict, features, subject.pad_id, progress=progress)
    return classification_metrics(np.stack(logits), targets, subject.problem_type)
