"""Makes more text of the rows that there are, without labels: the dense model says what a student should say to it.

For texts: spans of them, and the beginning of one with the end of another, as data augmentation for distillation does
(Jiao et al. 2020 replace words, Liang et al. 2021 mix inputs). For questions: the same question to the contexts beside
its own, and cloze questions (Lewis et al. 2019), in which a few words of a sentence have become "what".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from pgb_core.data import QuestionRow, TextRow

FEWEST = 4  # words of a text that a span is cut from
SENTENCE = 6  # words of a sentence that a cloze question is made of, at least
HIDDEN = 3  # words that a cloze question hides, at most
BESIDE = (-2, -1, 1, 2)  # how far another context is in the file
TRIES = 4  # for each row that is to be made
_ENDS = re.compile(r"(?<=[.!?])\s+")


def more_texts(rows: Sequence[TextRow], count: int, seed: int) -> tuple[list[TextRow], list[TextRow]]:
    """Spans and mixtures, about half of either, up to `count` together; none stands in the rows, and none twice.

    Of a pair a span is cut from its longer text; a mixture is the first text of one pair with the second of another.
    Fewer come out where the rows do not give so many. The seed decides all.
    """
    generator = np.random.default_rng((seed, 1))
    known = {(row.text, row.pair) for row in rows}
    spans: list[TextRow] = []
    mixtures: list[TextRow] = []
    for _ in range(TRIES * count if rows else 0):
        if len(spans) + len(mixtures) == count:
            break
        one, other = (rows[n] for n in generator.integers(len(rows), size=2).tolist())
        share, mixed = generator.random(), generator.random() < 0.5
        made = _mixture(one, other, share) if mixed else _span(one, share, generator)
        if made is not None and made not in known:
            known.add(made)
            (mixtures if mixed else spans).append(TextRow(*made, None, one.where))
    return spans, mixtures


def more_questions(rows: Sequence[QuestionRow], count: int, seed: int) -> tuple[list[QuestionRow], list[QuestionRow]]:
    """Questions moved to another context, and cloze questions, about half of either, up to `count` together.

    The other context stands beside the question's own in the file: in SQuAD's files it is of the same article. None
    stands in the rows, and none twice. Fewer come out where the rows do not give so many. The seed decides all.
    """
    generator = np.random.default_rng((seed, 2))
    contexts = list(dict.fromkeys(row.context for row in rows))
    places = {context: n for n, context in enumerate(contexts)}
    known = {(row.question, row.context) for row in rows}
    moved: list[QuestionRow] = []
    clozes: list[QuestionRow] = []
    for _ in range(TRIES * count if rows else 0):
        if len(moved) + len(clozes) == count:
            break
        row = rows[int(generator.integers(len(rows)))]
        hides = generator.random() < 0.5
        if hides:
            question, context = _cloze(row.context, generator), row.context
        else:
            place = places[row.context] + int(generator.choice(BESIDE))
            question, context = row.question, contexts[place] if 0 <= place < len(contexts) else ""
        if question and context and (question, context) not in known:
            known.add((question, context))
            made = clozes if hides else moved
            made.append(QuestionRow(question, context, None, row.where))
    return moved, clozes


def _span(row: TextRow, share: float, generator: np.random.Generator) -> tuple[str, str | None] | None:
    """The row with half of the words of its longer text, or more; None where it has too few."""
    texts = [row.text.split(), (row.pair or "").split()]
    longer = int(len(texts[1]) > len(texts[0]))
    words = texts[longer]
    if len(words) < FEWEST:
        return None
    length = math.ceil((0.5 + 0.5 * share) * (len(words) - 1))
    start = int(generator.integers(len(words) - length + 1))
    cut = " ".join(words[start : start + length])
    return (row.text, cut) if longer else (cut, row.pair)


def _mixture(one: TextRow, other: TextRow, share: float) -> tuple[str, str | None] | None:
    """Two rows in one; None of a row with itself, and where one has a second text and the other has none."""
    if one is other:
        return None
    if one.pair is not None and other.pair is not None:
        return one.text, other.pair
    if one.pair is not None or other.pair is not None:
        return None
    first, last = one.text.split(), other.text.split()
    words = [*first[: math.ceil(share * len(first))], *last[math.floor(share * len(last)) :]]
    return (" ".join(words), None) if words else None


def _cloze(context: str, generator: np.random.Generator) -> str:
    """A sentence of a context as a question for some of its words, names and numbers first; empty without one."""
    sentences = [words for text in _ENDS.split(context) if len(words := text.split()) >= SENTENCE]
    if not sentences:
        return ""
    words = sentences[int(generator.integers(len(sentences)))]
    named = [n for n, word in enumerate(words) if n and (word[0].isupper() or word[0].isdigit())]
    start = int(generator.choice(named or range(len(words))))
    end = min(len(words), start + int(generator.integers(1, HIDDEN + 1)))
    asked = " ".join([*words[:start], "what", *words[end:]])
    return asked.rstrip(".!?;:, ") + "?"
