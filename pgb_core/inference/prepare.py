"""Inputs made here and now, for whoever has all texts at hand: a notebook, and the job that scores a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pgb_core.inference.steps import all_of
from pgb_core.inference.tasks.qa import Question, Windowing
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Text, Tokens, Window

# Characters that are tokenised in one go; the tokenizer refuses more than eleven times as many.
_AT_ONCE = 100_000


def prepare_texts(tokenizer: Tokenizer, texts: Sequence[Text], side: str | None = None) -> list[Tokens]:
    """Any number of texts and pairs, each cut to the model's length on that side, or the tokenizer's own.

    Raises TooLarge when one takes too long.
    """
    found: list[Tokens] = []
    for group in _groups(tokenizer, texts):
        found += all_of(tokenizer.texts(group, side))
    return found


def prepare_question(tokenizer: Tokenizer, question: Question, windowing: Windowing) -> list[Window]:
    """All windows over the context of a question.

    Raises InvalidInput when the question leaves no room for its context, or the stride none between windows.
    """
    length, stride = windowing.within(tokenizer.max_length)
    return all_of(tokenizer.windows(question.question.strip(), question.context, length, stride, sys.maxsize))


def _groups(tokenizer: Tokenizer, texts: Sequence[Text]) -> Iterator[list[Text]]:
    """As many texts as are tokenised in one go, or a longer one alone."""
    group: list[Text] = []
    size = 0
    for item in texts:
        more = tokenizer.readable([item])
        if group and size + more > _AT_ONCE:
            yield group
            group, size = [], 0
        group.append(item)
        size += more
    if group:
        yield group
