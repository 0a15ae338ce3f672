"""SQuAD's metrics by their official definitions."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from pgb_core.data import QuestionRow

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """SQuAD's comparison form: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_f1(answer: str, gold: str) -> float:
    """Word overlap; an empty side scores 1 only against an empty side (SQuAD 2.0)."""
    words, wanted = normalize_answer(answer).split(), normalize_answer(gold).split()
    if not words or not wanted:
        return float(words == wanted)
    common = sum((Counter(words) & Counter(wanted)).values())
    return 2 * common / (len(words) + len(wanted))


def squad_metrics(rows: Sequence[QuestionRow], answers: Sequence[str], no_answer: Sequence[float]) -> dict[str, float]:
    """EM and F1 in percent; on data with unanswerable questions also at the best no-answer threshold.

    no_answer: for each question the score of no answer minus that of the best answer.
    """
    gold = [[t for t, _ in row.answers or () if normalize_answer(t)] or [""] for row in rows]
    em = [float(normalize_answer(a) in map(normalize_answer, golds)) for a, golds in zip(answers, gold, strict=True)]
    f1s = [max(answer_f1(a, g) for g in golds) for a, golds in zip(answers, gold, strict=True)]
    found = {"exact_match": 100 * float(np.mean(em)), "f1": 100 * float(np.mean(f1s))}
    unanswerable = [not row.answers for row in rows]
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
