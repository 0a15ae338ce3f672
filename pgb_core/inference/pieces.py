"""Finds the places where a long text can be cut without changing its tokens.

A text can be cut where the tokens on one side do not depend on the other side. With the usual normalisers and
pre-tokenisers such a place is before a blank or a punctuation mark that follows a letter or a digit. With BERT's, it is
before every punctuation mark and ideograph. With any other tokenizer, texts are not cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Characters that are encoded at once: until it is read, an encoding takes a hundred times as much as its text.
AT_ONCE = 16_384
DUMMY = "a"  # stands for what was cut off in front; the tokenizer gives it tokens of its own
BYTE_BLANK = "\u0120"  # a blank, as byte-level tokenizers write it
BLANK = re.compile(r"(?<=[^\W_])[ \n]")
MARK = re.compile(r"(?<=[^\W_])[ \n!-/:-@\[-`{-~]")
BERT_MARK = re.compile(r"(?<=[^\W_])[ \n]|[!-/:-@\[-`{-~\u3001\u3002\u4e00-\u9fff]")


class Pieces:
    """The places where one tokenizer's texts may be cut. spec: the tokenizer's file."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._cuts = cuts(spec)
        self._added = [token["content"].lower() for token in spec.get("added_tokens") or ()]

    @property
    def can_cut(self) -> bool:
        """Whether there is any place."""
        return self._cuts is not None

    def begin(self, text: str, size: int) -> str:
        """The text up to the first place from `size` on where it may be cut."""
        for found in self._cuts.finditer(text, size) if self._cuts else ():
            if not self._splits(text, found.start()):
                return text[: found.start()]
        return text

    def end(self, text: str, size: int) -> str:
        """The text from a blank on, at least `size` characters."""
        high = len(text) - size + 1
        while high > 0:
            low = max(0, high - AT_ONCE)
            for found in reversed(list(BLANK.finditer(text, low, high))):
                if not self._splits(text, found.start()):
                    return text[found.start() :]
            high = low
        return text

    def _splits(self, text: str, at: int) -> bool:
        """Whether a cut there would go through a token that the tokenizer finds before all else."""
        return any(token in text[max(0, at - len(token) + 1) : at + len(token) - 1].lower() for token in self._added)

    def of(self, text: str) -> Iterator[tuple[str, int]]:
        """A text in pieces, each with where it starts; behind the first one, each behind a dummy."""
        start = 0
        while True:
            rest = len(text) - start
            end = len(text)
            if self._cuts and rest > AT_ONCE:
                piece = self.begin(text[start:], AT_ONCE)
                end = start + len(piece)
            yield (DUMMY if start else "") + text[start:end], start
            if end == len(text):
                return
            start = end


def cuts(spec: Mapping[str, Any]) -> re.Pattern[str] | None:
    """Where texts may be cut for a tokenizer, from its file: in front of what matches. None: nowhere."""
    before, splits = _kinds(spec.get("normalizer")), _kinds(spec.get("pre_tokenizer"))
    added = [token["content"] for token in spec.get("added_tokens") or ()]
    takes_blanks = any(token.get("rstrip") for token in spec.get("added_tokens") or ())
    has_blanks = any(re.search(r"\s", content) for content in added)
    hides_dummy = any(re.match(rf"{DUMMY}\W", content, re.IGNORECASE) for content in added)
    if takes_blanks or has_blanks or hides_dummy or not set(before) <= _PLAIN_NORMALIZERS:
        return None
    if splits == ["BertPreTokenizer"]:
        chinese = [part.get("handle_chinese_chars") for part in _flat(spec.get("normalizer"))]
        return BERT_MARK if chinese == [True] else MARK
    if splits == ["ByteLevel"] and _flat(spec["pre_tokenizer"])[0].get("use_regex", True):
        return MARK
    # Behind a split at blanks, SentencePiece's mark for a blank is put before each word by itself.
    at_blanks = splits[:1] in (["Whitespace"], ["WhitespaceSplit"])
    return BLANK if at_blanks and set(splits[1:]) <= {"Whitespace", "WhitespaceSplit", "Metaspace"} else None


def keeps_blank(spec: Mapping[str, Any]) -> bool:
    """Whether the processor takes the blank in front of a window's first token for one that it was given."""
    processor = spec.get("post_processor")
    return any(
        part.get("type") in ("RobertaProcessing", "ByteLevel")
        and part.get("add_prefix_space", True)
        and part.get("trim_offsets", True)
        for part in _flat(processor)
    )


_PLAIN_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Precompiled"}


def _kinds(part: Mapping[str, Any] | None) -> list[str]:
    return [str(inner.get("type")) for inner in _flat(part)]


def _flat(part: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """A normaliser, pre-tokeniser or processor as the steps of which it consists."""
    if part is None:
        return []
    if part.get("type") != "Sequence":
        return [part]
    inner = part.get("normalizers") or part.get("pretokenizers") or part.get("processors") or ()
    return [step for each in inner for step in _flat(each)]
