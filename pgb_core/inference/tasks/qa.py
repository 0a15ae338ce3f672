"""Question answering: from start and end logits of overlapping windows to answers with character offsets.

Follows the rules of the `question-answering` pipeline of transformers 4.57. Probabilities are computed for each window
over context tokens, in single precision. The score of a span is start x end. Answers are widened to whole words, and
equal answers are merged. `tests/oracle` compares the two and lists where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from pgb_core.inference.errors import EmptyInput, TooLarge
from pgb_core.inference.steps import Work
from pgb_core.inference.tasks.base import Logits, shared_tokens
from pgb_core.inference.tokens import Tokens, Window

DEFAULT_LENGTH = 384
# Characters of all the answers that are looked at for one question: what a few hundred long ones have.
_MOST_CHARACTERS = 4_000_000
_WIDE = 384  # tokens: about as long as an answer within a window can be
MASKED = np.float32(-10_000.0)


@dataclass(frozen=True)
class Question:
    """One question about one context."""

    question: str
    context: str


@dataclass(frozen=True)
class Windowing:
    """Tokens of a window and how many neighbours share; None takes min(model, 384) and half, at most 128."""

    max_length: int | None = None
    stride: int | None = None

    def within(self, max_length: int) -> tuple[int, int]:
        """Length and stride for a model that takes so many tokens."""
        length = min(self.max_length or DEFAULT_LENGTH, max_length)
        return length, shared_tokens(length, self.stride)


@dataclass(frozen=True)
class Options:
    """max_answer_length: tokens. handle_impossible: let "no answer" compete. align_to_words: whole words."""

    top_k: int = 1
    max_answer_length: int = 15
    handle_impossible: bool = False
    align_to_words: bool = True


@dataclass(frozen=True)
class Answer:
    """`context[start:end] == text`; an empty text at 0 says that the context holds no answer.

    Of a tokenizer with tokens of white space, a text may be white space, or empty at another place.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Candidates:
    """What the windows of one context hold: distinct answers, in the order found, and the score of "no answer"."""

    answers: Sequence[Answer]
    no_answer: float

    def best(self, options: Options) -> list[Answer]:
        """The `top_k` best, highest first; of equal ones, the one found first."""
        silence = [Answer("", 0, 0, self.no_answer)] if options.handle_impossible else []
        return sorted([*self.answers, *silence], key=lambda a: a.score, reverse=True)[: options.top_k]


def best(
    context: str, windows: Sequence[Window], logits: Sequence[NDArray[np.float32]], options: Options
) -> Work[list[Answer]]:
    """The `top_k` best answers, highest first. A step is a window. Raises as `candidates`."""
    found = yield from candidates(context, windows, logits, options)
    return found.best(options)


def candidates(
    context: str, windows: Sequence[Window], logits: Sequence[NDArray[np.float32]], options: Options
) -> Work[Candidates]:
    """The answers that the `top_k` best are chosen from, and "no answer" with its least score of all windows. A step
    is a window.

    Raises TooLarge when the answers would be very long in all.
    """
    count = 2 * options.top_k + 10 if options.align_to_words else options.top_k
    found: dict[str, Answer] = {}
    no_answer = 1.0
    characters = 0
    for window, scores in zip(windows, logits, strict=True):
        start, end = _probabilities(window, scores)
        no_answer = min(no_answer, float(start[0] * end[0]))
        start[0] = end[0] = 0.0
        for first, last, score in _spans(start, end, count, options.max_answer_length):
            begin, stop = _located(window, first, last, options.align_to_words)
            characters += stop - begin
            if characters > _MOST_CHARACTERS:
                raise TooLarge("the answers are too long in all; lower top_k or the length of an answer")
            text = context[begin:stop]
            key = text.lower()
            seen = found.get(key)
            found[key] = replace(seen, score=seen.score + score) if seen else Answer(text, begin, stop, score)
        yield cost(len(window.tokens), options)
    return Candidates(list(found.values()), no_answer)


def cost(tokens: int, options: Options) -> int:
    """How many characters are tokenised in the time in which answers are found in so many tokens, about."""
    return tokens * (4 + options.top_k // 4 + min(options.max_answer_length, _WIDE) // 4)


def _probabilities(window: Window, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """[2, tokens], over the context and the first token, whose share is that of "no answer".

    A text that spells the first token out gets it again, and the pipeline then takes that for one more.
    """
    allowed = np.array(window.tokens.ids) == window.tokens.ids[0]
    allowed[window.context.start : window.context.stop] = True
    values = np.ascontiguousarray(np.where(allowed, logits.T, MASKED))
    powers = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _spans(
    start: NDArray[np.float32], end: NDArray[np.float32], count: int, longest: int
) -> list[tuple[int, int, float]]:
    """The best spans (first, last, score) of at most `longest` tokens; equal ones by where they start, then end.

    Only the band of allowed spans is computed: row s holds the ends s, s + 1, ... s + width - 1.
    """
    width = min(longest, len(end))
    ends = np.concatenate((end, np.zeros(width - 1, np.float32)))
    scores = (start[:, None] * as_strided(ends, (len(start), width), 2 * ends.strides, writeable=False)).ravel()
    chosen = np.flatnonzero(scores)  # most of a steep window is zero, and ties make a partition slow
    if count < len(chosen):
        likely = scores[chosen]
        chosen = chosen[likely >= np.partition(likely, -count)[-count]]
    order = np.argsort(-scores[chosen], kind="stable")[:count]
    return [(n // width, n // width + n % width, float(scores[n])) for n in chosen[order].tolist()]


def _located(window: Window, first: int, last: int, align: bool) -> tuple[int, int]:
    """Characters of a span: of its words, or of its tokens where they are of no word."""
    if align:
        words = window.word(first), window.word(last)
        if words[0] is not None and words[1] is not None:
            spans = window.characters_of_word(words[0]), window.characters_of_word(words[1])
            if spans[0] and spans[1]:
                return spans[0][0], spans[1][1]
    return window.characters(first)[0], window.characters(last)[1]


class QuestionAnswering:
    """See `Task`. A graph gives where answers start and where they end, [batch, tokens] each."""

    name = "qa"
    outputs: tuple[str, ...] = ("start_logits", "end_logits")

    def shape(self, tokens: int, labels: int) -> tuple[int, ...]:
        """[tokens, 2]."""
        return tokens, 2

    def joined(self, outputs: Sequence[Logits]) -> Logits:
        """[batch, tokens, 2]."""
        return np.stack(outputs, axis=-1)

    def unpadded(self, logits: Logits, batch: Sequence[Tokens]) -> list[Logits]:
        """[tokens, 2] of each."""
        return [logits[row, : len(tokens)] for row, tokens in enumerate(batch)]

    def check(self, inputs: Sequence[tuple[str, ...]]) -> None:
        """inputs: question and context of each. Raises EmptyInput where one says nothing."""
        if not all(question.strip() and context for question, context in inputs):
            raise EmptyInput("a question or a context is empty")


QA = QuestionAnswering()
