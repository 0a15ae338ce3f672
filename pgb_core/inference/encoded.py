"""An encoding as arrays, which can be cut, moved and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding


@dataclass(frozen=True)
class Encoded:
    """Tokens side by side. blanks: whether one blank is at the front of the token, though not in its span."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    spans: NDArray[np.int64]
    words: NDArray[np.int64]
    blanks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: slice) -> Encoded:
        return Encoded(self.ids[which], self.types[which], self.spans[which], self.words[which], self.blanks[which])

    def moved(self, characters: int, word: int) -> Encoded:
        """The same tokens so many characters later, their words counted from `word` on."""
        words = self.words - self.words[0] + word if len(self) else self.words
        return Encoded(self.ids, self.types, self.spans + characters, words, self.blanks)

    def with_blank(self, blank: int | None) -> Encoded:
        """The blank at the front of its first token counted in, as the processor of byte-level tokens does where a text
        begins that gets a blank in front. blank: the token of a blank alone, of which nothing is left then.
        """
        if not self.blanks[0]:
            return self
        start, end = self.spans[0].tolist()
        spans = self.spans.copy()
        spans[0] = start - 1, start - 1 if self.ids[0] == blank else end
        return Encoded(self.ids, self.types, spans, self.words, self.blanks)


def encoded_of(encoding: Encoding) -> Encoded:
    """The whole of what the library gave; no token has a blank before it."""
    words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
    spans = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    ids, types = np.array(encoding.ids, np.int64), np.array(encoding.type_ids, np.int64)
    return Encoded(ids, types, spans, words, np.zeros(len(ids), np.bool_))


def sides_of(encoding: Encoding) -> tuple[Encoded, Encoded, Encoded]:
    """What stands before the second sequence, the sequence, and what stands behind it."""
    sides, whole = encoding.sequence_ids, encoded_of(encoding)
    if 1 not in sides:
        return whole, whole[:0], whole[:0]
    first, last = sides.index(1), len(sides) - sides[::-1].index(1)
    return whole[:first], whole[first:last], whole[last:]


def joined(parts: Sequence[Encoded]) -> Encoded:
    """One behind the other."""
    columns = zip(*((part.ids, part.types, part.spans, part.words, part.blanks) for part in parts), strict=True)
    return Encoded(*(np.concatenate(column) for column in columns))
