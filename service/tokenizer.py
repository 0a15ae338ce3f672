"""Text to token ids, through `tokenizers` alone. Thread-safe: nothing is changed after construction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, processors
from tokenizers import Tokenizer as Fast

from service.errors import InvalidInput

SIDES = ("right", "left")
# Characters that are encoded at once: until it is read, an encoding takes a hundred times as much as its text.
_AT_ONCE = 16_384


@dataclass(frozen=True)
class Tokens:
    """One model input. `cut` says that the text was longer."""

    ids: Sequence[int]
    types: Sequence[int]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Window:
    """A question with a stretch of its context.

    encoding: maps tokens to words and characters. context: which tokens are of the context.
    """

    tokens: Tokens
    encoding: Encoding
    context: range


class Tokenizer:
    """The tokenizer of one artifact."""

    def __init__(self, path: Path, max_length: int) -> None:
        self.max_length = max_length
        self._plain = Fast.from_file(str(path))
        self._plain.no_padding()
        self._plain.no_truncation()
        # Kept apart: it trims offsets of byte-level tokens, and would trim twice what it sees twice.
        self._join = self._plain.post_processor or processors.TemplateProcessing("$A", "$A $B:1", [])
        self._plain.post_processor = None
        self._truncating = {side: Fast.from_file(str(path)) for side in SIDES}
        for side, tokenizer in self._truncating.items():
            tokenizer.no_padding()
            tokenizer.enable_truncation(max_length, direction=side)

    def texts(self, inputs: Sequence[str | tuple[str, str]], side: str = "right") -> list[Tokens]:
        """Texts or pairs, cut to the model's length on that side."""
        return [
            Tokens(e.ids, e.type_ids, len(e.ids) == self.max_length and bool(e.overflowing))
            for part in _parts(inputs)
            for e in self._truncating[side].encode_batch_fast(part)
        ]

    def windows(self, question: str, context: str, length: int, stride: int) -> list[Window]:
        """Overlapping windows of at most `length` tokens; neighbours share `stride` tokens of context.

        Raises InvalidInput when the context does not fit and the question leaves no room to cut it,
        or when windows of that length could never share so much.
        """
        if stride > length - self._join.num_special_tokens_to_add(False):
            raise InvalidInput(f"windows of {length} tokens cannot share {stride}; lower the stride")
        asked = self._plain.encode(question)
        given = self._plain.encode(context)
        room = length - len(asked) - self._join.num_special_tokens_to_add(True)
        if len(given) > room and stride >= room:
            raise InvalidInput(
                f"the question takes {len(asked)} tokens and leaves no room for its context in {length}; "
                "shorten it or lower the stride"
            )
        given.truncate(max(room, 0), stride=stride)
        # One by one: processed together, later windows would get the first one's token types.
        parts = (given, *given.overflowing)
        joined = [self._join.process(asked, part) for part in parts]
        sides = joined[0].sequence_ids
        first = sides.index(1) if len(given) else 0
        return [
            Window(Tokens(e.ids, e.type_ids), e, range(first, first + len(part)))
            for e, part in zip(joined, parts, strict=True)
        ]


def _parts(inputs: Sequence[str | tuple[str, str]]) -> Iterator[list[str | tuple[str, str]]]:
    """One after the other, each as many inputs as are encoded at once, or a single longer one."""
    part: list[str | tuple[str, str]] = []
    size = 0
    for item in inputs:
        length = len(item) if isinstance(item, str) else len(item[0]) + len(item[1])
        if part and size + length > _AT_ONCE:
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield part
