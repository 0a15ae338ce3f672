"""Start and end logits of overlapping windows to answers with character offsets.

Follows the rules of the `question-answering` pipeline of transformers 4.57: probabilities by window
over context tokens, spans scored by start x end, answers widened to whole words, equal answers merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.tasks.classify import activate
from service.tokenizer import Window

MASKED = -10_000.0


@dataclass(frozen=True)
class Options:
    """max_answer_length: tokens. handle_impossible: let "no answer" compete. align_to_words: whole words."""

    top_k: int = 1
    max_answer_length: int = 15
    handle_impossible: bool = False
    align_to_words: bool = True


@dataclass(frozen=True)
class Answer:
    """`context[start:end] == text`; an empty text says that the context holds no answer."""

    text: str
    start: int
    end: int
    score: float


def best(
    context: str, windows: Sequence[Window], logits: Sequence[NDArray[np.float32]], options: Options
) -> list[Answer]:
    """The `top_k` best answers, highest first."""
    count = 2 * options.top_k + 10 if options.align_to_words else options.top_k
    found: dict[str, Answer] = {}
    least_null = 1_000_000.0
    for window, scores in zip(windows, logits, strict=True):
        start, end, null = _probabilities(window, scores)
        least_null = min(least_null, null)
        for s, e, score in _spans(start, end, count, options.max_answer_length):
            answer = _located(context, window, s, e, score, options.align_to_words)
            key = answer.text.lower()
            seen = found.get(key)
            found[key] = replace(seen, score=seen.score + score) if seen else answer
    answers = list(found.values())
    if options.handle_impossible:
        answers.append(Answer("", 0, 0, least_null))
    return sorted(answers, key=lambda a: a.score, reverse=True)[: options.top_k]


def _probabilities(
    window: Window, logits: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Over context tokens, [tokens] each; the null score is that of the first token."""
    context = np.array([part == 1 for part in window.encoding.sequence_ids])
    allowed = context.copy()
    allowed[0] = True
    start, end = (activate(np.where(allowed, logits[:, k], np.float32(MASKED)), "softmax") for k in (0, 1))
    null = float(start[0] * end[0])
    return np.where(context, start, 0.0), np.where(context, end, 0.0), null


def _spans(
    start: NDArray[np.float64], end: NDArray[np.float64], count: int, longest: int
) -> list[tuple[int, int, float]]:
    """The best spans (first, last, score) of at most `longest` tokens."""
    scores = np.tril(np.triu(np.outer(start, end)), longest - 1)
    flat = scores.ravel()
    top = np.argpartition(-flat, count)[:count] if flat.size > count else np.arange(flat.size)
    top = top[np.argsort(-flat[top], kind="stable")]
    return [(int(i) // len(end), int(i) % len(end), float(flat[i])) for i in top if flat[i] > 0]


def _located(context: str, window: Window, first: int, last: int, score: float, align: bool) -> Answer:
    encoding = window.encoding
    start, end = encoding.offsets[first][0], encoding.offsets[last][1]
    if align:
        words = encoding.token_to_word(first), encoding.token_to_word(last)
        spans = [None if word is None else encoding.word_to_chars(word, 1) for word in words]
        start = spans[0][0] if spans[0] else start
        end = spans[1][1] if spans[1] else end
    return Answer(context[start:end], start, end, score)
