"""The results of tokenising: one model input, or a window of a context with the positions of its tokens in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Tokens:
    """One model input. `cut` says that the text was longer."""

    ids: Sequence[int] | NDArray[np.int64]
    types: Sequence[int] | NDArray[np.int64]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Window:
    """A question with a stretch of its context.

    context: which tokens are of the context. spans: characters of each token, [tokens, 2]; (0, 0) of those that
    stand for no text. words: the word of each token, -1 for none.
    """

    tokens: Tokens
    context: range
    spans: NDArray[np.int64]
    words: NDArray[np.int64]

    def word(self, token: int) -> int | None:
        """The word that a token is of."""
        found = int(self.words[token])
        return None if found < 0 else found

    def characters_of_word(self, word: int) -> tuple[int, int] | None:
        """Where a word of the context begins and ends, as far as the window shows it."""
        first = self.context.start
        words = self.words[first : self.context.stop]
        low, high = (int(n) for n in (np.searchsorted(words, word), np.searchsorted(words, word, "right")))
        if low == high:
            return None
        return int(self.spans[first + low, 0]), int(self.spans[first + high - 1, 1])

    def characters(self, token: int) -> tuple[int, int]:
        """Where a token begins and ends."""
        return int(self.spans[token, 0]), int(self.spans[token, 1])
