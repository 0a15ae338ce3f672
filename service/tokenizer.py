"""Text to token ids, through `tokenizers` alone. Thread-safe: nothing is changed after construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding
from tokenizers import Tokenizer as Fast

from service.errors import InvalidInput


@dataclass(frozen=True)
class Tokens:
    """One model input."""

    ids: Sequence[int]
    types: Sequence[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Window:
    """A question with a stretch of its context. `encoding` maps tokens to words and characters."""

    tokens: Tokens
    encoding: Encoding


class Tokenizer:
    """The tokenizer of one artifact."""

    def __init__(self, path: Path, max_length: int) -> None:
        self.max_length = max_length
        self._plain = Fast.from_file(str(path))
        self._plain.no_padding()
        self._plain.no_truncation()
        self._truncating = Fast.from_file(str(path))
        self._truncating.no_padding()
        self._truncating.enable_truncation(max_length)

    def texts(self, inputs: Sequence[str | tuple[str, str]]) -> list[Tokens]:
        """Texts or pairs, truncated to the model's length."""
        return [Tokens(e.ids, e.type_ids) for e in self._truncating.encode_batch_fast(list(inputs))]

    def windows(self, question: str, context: str, length: int, stride: int) -> list[Window]:
        """Overlapping windows of at most `length` tokens; neighbours share `stride` tokens of context.

        Raises InvalidInput when the question leaves no room for context.
        """
        asked = self._plain.encode(question, add_special_tokens=False)
        given = self._plain.encode(context, add_special_tokens=False)
        room = length - len(asked.ids) - self._plain.num_special_tokens_to_add(True)
        if room < 1 or stride >= room:
            raise InvalidInput(
                f"the question takes {len(asked.ids)} tokens and leaves no room for its context in {length}; "
                "shorten it or lower the stride"
            )
        given.truncate(room, stride=stride)
        # One by one: processed together, later windows would get the first one's token types.
        joined = [self._plain.post_process(asked, part) for part in (given, *given.overflowing)]
        return [Window(Tokens(e.ids, e.type_ids), e) for e in joined]
