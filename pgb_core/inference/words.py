"""Tokenises plain texts by a table of whole words, which is much faster than the library.

The library records where each character came from, and looks each one up in Unicode tables. With a tokenizer of BERT's
kind, a text of printable ASCII needs neither. It is split at blanks and around punctuation marks, and a word in the
vocabulary is one token, because the longest piece is taken first. Other texts and other tokenizers use the library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as Fast

_NORMALIZER, _PRE_TOKENIZER, _MODEL = "BertNormalizer", "BertPreTokenizer", "WordPiece"
_WORD = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]")


class Words:
    """The whole words of one tokenizer. spec: its file. library: the same, which splits the words that it has not."""

    def __init__(self, spec: Mapping[str, Any], library: Fast) -> None:
        normalizer = spec.get("normalizer") or {}
        added = [token["content"] for token in spec.get("added_tokens") or ()]
        self._lowers = bool(normalizer.get("lowercase"))
        self._added = tuple(content.lower() for content in added)
        self._model = library.model
        self._ids: dict[str, int] = {}
        kinds = [(spec.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
        if kinds == [_NORMALIZER, _PRE_TOKENIZER, _MODEL] and all(plain(content) for content in added):
            longest = spec["model"].get("max_input_chars_per_word", 100)
            found = spec["model"]["vocab"].items()
            self._ids = {word: n for word, n in found if len(word) <= longest and _WORD.fullmatch(word)}

    def ids(self, text: str) -> list[int] | None:
        """The tokens of a text, none of its kind added around it; None when the library must be asked."""
        if not self._ids or not plain(text):
            return None
        lowered = text.lower()
        for content in self._added:  # the library finds them before all else
            if content in lowered:
                return None
        words = (lowered if self._lowers else text).split(" ")
        ids = list(map(self._ids.get, words))
        if None not in ids:
            return ids  # type: ignore[return-value]
        found: list[int] = []
        for word, known in zip(words, ids, strict=True):
            if known is not None:
                found.append(known)
            elif word:
                self._split(word, found)
        return found

    def _split(self, stretch: str, found: list[int]) -> None:
        """Add the tokens of what stands between two blanks and is no word of the vocabulary."""
        last = stretch[-1]
        if not last.isalnum():  # most often a word of the vocabulary and a mark behind it
            front, mark = self._ids.get(stretch[:-1]), self._ids.get(last)
            if front is not None and mark is not None:
                found += (front, mark)
                return
        for word in _WORD.findall(stretch):
            known = self._ids.get(word)
            if known is None:
                found += [token.id for token in self._model.tokenize(word)]
            else:
                found.append(known)


def plain(text: str) -> bool:
    """Whether it is of printable ASCII alone."""
    return text.isascii() and text.isprintable()
