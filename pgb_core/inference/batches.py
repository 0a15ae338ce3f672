"""Tokenises any number of inputs and computes their logits in batches, when all texts are known at once.

A batch has inputs of similar length, which need little padding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

from pgb_core.inference.steps import all_of
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tasks.qa import Question, Windowing
from pgb_core.inference.tokenizer import Tokenizer, portions
from pgb_core.inference.tokens import Text, Tokens, Window

BATCH_TOKENS = 4096
# Characters that are tokenised in one go.
_AT_ONCE = 100_000

# From inputs to the logits of each, without padding: [labels], or [tokens, 2] of a span model. `run` of a runtime takes
# one batch, and so does a model of the job; `run_all` makes of either what takes any number of inputs.
Predict = Callable[[Sequence[Tokens]], list[Logits]]


def prepare_texts(tokenizer: Tokenizer, texts: Sequence[Text], side: str | None = None) -> list[Tokens]:
    """Any number of texts and pairs of any length, each cut to the model's, on that side or the tokenizer's own."""
    found: list[Tokens] = []
    for group in portions(texts, lambda item: tokenizer.readable([item]), _AT_ONCE):
        found += all_of(tokenizer.texts(group, side, sys.maxsize))
    return found


def prepare_question(tokenizer: Tokenizer, question: Question, windowing: Windowing) -> list[Window]:
    """All windows over the context of a question, which is read as it came: white space counts for some tokenizers.

    Raises InvalidInput when the question leaves no room for its context, or the stride none between windows.
    """
    length, stride = windowing.within(tokenizer.max_length)
    return all_of(tokenizer.windows(question.question, question.context, length, stride, sys.maxsize))


def run_all(
    predict: Predict,
    inputs: Sequence[Tokens],
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[int], None] = lambda count: None,
) -> list[Logits]:
    """Logits of each input, in the order given.

    batch_tokens: most padded tokens of a batch; an input that is longer runs alone. progress: hears after each batch
    how many inputs it had. Raises what `predict` raises; a runtime raises ArithmeticError where it finds what is not a
    number.
    """
    found: dict[int, Logits] = {}
    for group in alike([len(tokens) for tokens in inputs], batch_tokens):
        found.update(zip(group, predict([inputs[place] for place in group]), strict=True))
        progress(len(group))
    return [found[place] for place in range(len(inputs))]


def run_groups(run: Predict, groups: Sequence[Sequence[Tokens]]) -> list[list[Logits]]:
    """Logits of inputs that belong together, such as the windows of one context; all groups run in common batches.

    run: takes any number of inputs.
    """
    found = iter(run([tokens for group in groups for tokens in group]))
    return [[next(found) for _ in group] for group in groups]


def alike(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Places of inputs that run together, shortest first: those of equal length in the order given."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) + 1) * lengths[place] > most:
            yield group
            group = []
        group.append(place)
    if group:
        yield group
