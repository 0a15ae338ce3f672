"""Text to token ids, through `tokenizers` alone. Thread-safe: nothing is changed after construction.

Long work is a generator: each step tokenises one piece and yields, so that whoever runs it can let others take their
turn, or stop. Of a text no more is tokenised than is read: as much as fills the model, or as the windows allow.

**Pieces.** A text may be cut where the tokens on either side do not depend on the other side. With the usual
normalisers and pre-tokenisers that is so in front of a blank or a punctuation mark that follows a letter or a digit;
with BERT's, in front of every mark and ideograph. A tokenizer of another kind gets every text whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, processors
from tokenizers import Tokenizer as Fast

from service.errors import InvalidInput, TooLarge

SIDES = ("right", "left")
# Characters that are encoded at once: until it is read, an encoding takes a hundred times as much as its text.
_AT_ONCE = 16_384
# Of one request: what takes about a second, whatever the characters are.
_MOST = 1_100_000
# Characters of a token, more than in most texts: the first guess at how much of a long text fills the model.
_PER_TOKEN = 6
# Of two long texts that are cut as a pair, the longer keeps an odd token: up to this length they are measured whole.
_MEASURED = 4_096
BLANK = re.compile(r"(?<=[^\W_])[ \n]")
MARK = re.compile(r"(?<=[^\W_])[ \n!-/:-@\[-`{-~]")
BERT_MARK = re.compile(r"(?<=[^\W_])[ \n]|[!-/:-@\[-`{-~\u3001\u3002\u4e00-\u9fff]")
_DUMMY = "a"  # stands for what was cut off in front; the tokenizer gives it tokens of its own

Step = int  # characters that a step read
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


@dataclass(frozen=True)
class _Part:
    """Tokens side by side. blanks: whether a blank before the token is a part of it, though not of its span."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    spans: NDArray[np.int64]
    words: NDArray[np.int64]
    blanks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: slice) -> _Part:
        return _Part(self.ids[which], self.types[which], self.spans[which], self.words[which], self.blanks[which])

    def moved(self, characters: int, word: int) -> _Part:
        """The same tokens so many characters later, their words counted from `word` on."""
        words = self.words - self.words[0] + word if len(self) else self.words
        return _Part(self.ids, self.types, self.spans + characters, words, self.blanks)

    def with_blank(self) -> _Part:
        """The blank before its first token counted in, as the processor of byte-level tokens does where a text begins
        that gets a blank in front."""
        if not self.blanks[0]:
            return self
        start, end = self.spans[0].tolist()
        spans = self.spans.copy()
        spans[0] = start - 1, end if end > start else start - 1
        return _Part(self.ids, self.types, spans, self.words, self.blanks)


class Tokenizer:
    """The tokenizer of one artifact. side: the end of a text that is cut, when a request does not say."""

    def __init__(self, path: Path, max_length: int) -> None:
        self.max_length = max_length
        self._plain = Fast.from_file(str(path))
        self.side: str = (self._plain.truncation or {}).get("direction", SIDES[0])
        self._plain.no_padding()
        self._plain.no_truncation()
        # Kept apart: it trims offsets of byte-level tokens, and would trim twice what it sees twice.
        self._join = self._plain.post_processor or processors.TemplateProcessing("$A", "$A $B:1", [])
        self._plain.post_processor = None
        spec = json.loads(path.read_text("utf-8"))
        self._cuts = cuts(spec)
        self._keeps_blank = keeps_blank(spec)
        self._added = [token["content"].lower() for token in spec.get("added_tokens") or ()]
        # What stands around one text, and around two.
        dummy = self._encoded(_DUMMY)
        self._layouts = [_layout(self._join.process(*dummies)) for dummies in ((dummy,), (dummy, dummy))]

    def readable(self, inputs: Sequence[Text]) -> int:
        """About how many characters of the inputs will be tokenised."""
        most = _PER_TOKEN * self.max_length if self._cuts else _MOST
        return sum(min(len(text), most) for item in inputs for text in _texts(item))

    def texts(self, inputs: Sequence[Text], side: str | None = None) -> Generator[Step, None, list[Tokens]]:
        """Texts or pairs, cut to the model's length on that side, or its own; of a pair, the longer text loses more.

        Raises TooLarge when they take too long.
        """
        side = side or self.side
        found: list[Tokens] = []
        seen, longest = 0, max(_MEASURED, _PER_TOKEN * self.max_length)
        for part in _parts(inputs):
            taken = []
            for item in part:
                taken += yield from self._taken(item, side)
            read = sum(len(text) for text, _ in taken)
            # A long text that could not be cut was searched for a place, too; it may be all blanks, which take longest.
            whole = sum(len(text) for text, ids in taken if ids is None and len(text) > longest)
            seen += read + whole
            if seen > _MOST:
                raise TooLarge("the texts take too long to tokenise; send fewer at a time")
            encoded = iter(self._plain.encode_batch_fast([text for text, known in taken if known is None]))
            ids = iter([next(encoded).ids if known is None else known for _, known in taken])
            found += [self._fitted([next(ids) for _ in _texts(item)], side) for item in part]
            yield read
        return found

    def _fitted(self, sequences: list[list[int]], side: str) -> Tokens:
        """One text or two in the model's layout, cut to its length."""
        layout = self._layouts[len(sequences) - 1]
        room = self.max_length - sum(len(ids) for _, ids, _ in layout if ids)
        counts = longest_first([len(ids) for ids in sequences], room)
        cut = any(count < len(ids) for count, ids in zip(counts, sequences, strict=True))
        ids: list[int] = []
        types: list[int] = []
        for sequence, special, kinds in layout:
            added = special
            if sequence is not None:
                whole, count = sequences[sequence], counts[sequence]
                added = whole[:count] if side == "right" else whole[len(whole) - count :]
            ids += added
            types += kinds if sequence is None else kinds * len(added)
        return Tokens(ids, types, cut)

    def windows(
        self, question: str, context: str, length: int, stride: int, most: int
    ) -> Generator[Step, None, list[Window]]:
        """Overlapping windows of at most `length` tokens; neighbours share `stride` tokens of context.

        Raises InvalidInput when the context does not fit and the question leaves no room to cut it,
        or when windows of that length could never share so much; TooLarge when there were more than `most`.
        """
        special = self._join.num_special_tokens_to_add
        if stride > length - special(False):
            raise InvalidInput("windows of that length cannot share so many tokens; lower the stride")
        asked = self._encoded((yield from self._enough(question, length))[0])
        room = length - len(asked) - special(True)
        before, _, after = _sides(self._join.process(asked, self._encoded(_DUMMY)))
        parts, count, last = [before[:0]], 0, -1
        for piece, start in self._pieces(context):
            encoded = self._encoded(piece)
            if not start and not len(encoded) and piece == context:  # the processor says what stands for nothing
                before, after = _part(self._join.process(asked, encoded)), after[:0]
            raw = _part(encoded) if self._keeps_blank else None  # processing changes it
            part = _sides(self._join.process(asked, encoded))[1]
            if raw is not None:
                part = replace(part, blanks=raw.spans[:, 0] < part.spans[:, 0])
            if start:
                part = part[int(np.searchsorted(part.spans[:, 0], len(_DUMMY))) :]
                part = part.moved(start - len(_DUMMY), last + 1)
            if len(part):
                last = int(part.words[-1])
            parts.append(part)
            count += len(part)
            if count > room and stride >= room:
                raise InvalidInput("the question leaves no room for its context; shorten it or lower the stride")
            if windows_of(count, room, stride) > most:
                raise TooLarge("the context needs more windows than one request may have")
            yield len(piece)
        given = _joined(parts)
        step = max(room - stride, 1)
        found = []
        for n in range(windows_of(count, room, stride)):
            part = given[n * step : n * step + max(room, 0)]
            found.append(self._window(before, part.with_blank() if n and self._keeps_blank else part, after))
        return found

    def _window(self, before: _Part, part: _Part, after: _Part) -> Window:
        joined = _joined([before, part, after])
        first = len(before) if len(part) else 0
        return Window(Tokens(joined.ids, joined.types), range(first, first + len(part)), joined.spans, joined.words)

    def _encoded(self, text: str) -> Encoding:
        return self._plain.encode_batch([text])[0]  # other threads run meanwhile, as they do not beside `encode`

    def _taken(self, item: Text, side: str) -> Generator[Step, None, list[tuple[str, list[int] | None]]]:
        """Of each text of an input as much as decides what is read, with its tokens where they were counted."""
        texts = _texts(item)
        long = [len(text) > (_MEASURED if len(texts) > 1 else _PER_TOKEN * self.max_length) for text in texts]
        least = self.max_length
        if long.count(True) == 1 and len(texts) > 1:  # which of the two is longer is decided by all of the short one
            short = texts[long.index(False)]
            least = max(least, len(self._plain.encode_batch_fast([short])[0].ids))
        found = []
        for text, cut in zip(texts, long, strict=True):
            found.append((yield from self._enough(text, least, side)) if cut else (text, None))
        return found

    def _enough(
        self, text: str, tokens: int, side: str = "right"
    ) -> Generator[Step, None, tuple[str, list[int] | None]]:
        """As much of a text as has more than `tokens` tokens, with the tokens of that much; or all of it."""
        size = _PER_TOKEN * self.max_length
        while self._cuts and size < len(text):
            part = self._begin(text, size) if side == "right" else self._end(text, size)
            if len(part) == len(text):
                break
            ids = self._plain.encode_batch_fast([part])[0].ids
            if len(ids) > tokens:
                return part, ids
            yield len(part)
            size *= 2
        return text, None

    def _begin(self, text: str, size: int) -> str:
        """The text up to the first place from `size` on where it may be cut."""
        for found in self._cuts.finditer(text, size) if self._cuts else ():
            if not self._splits(text, found.start()):
                return text[: found.start()]
        return text

    def _end(self, text: str, size: int) -> str:
        """The text from a blank on, at least `size` characters."""
        high = len(text) - size + 1
        while high > 0:
            low = max(0, high - _AT_ONCE)
            for found in reversed(list(BLANK.finditer(text, low, high))):
                if not self._splits(text, found.start()):
                    return text[found.start() :]
            high = low
        return text

    def _splits(self, text: str, at: int) -> bool:
        """Whether a cut there would go through a token that the tokenizer finds before all else."""
        return any(token in text[max(0, at - len(token) + 1) : at + len(token) - 1].lower() for token in self._added)

    def _pieces(self, text: str) -> Iterator[tuple[str, int]]:
        """A text in pieces, each with where it starts; behind the first one, each behind a dummy."""
        start = 0
        while True:
            rest = len(text) - start
            end = len(text)
            if self._cuts and rest > _AT_ONCE:
                piece = self._begin(text[start:], _AT_ONCE)
                end = start + len(piece)
            yield (_DUMMY if start else "") + text[start:end], start
            if end == len(text):
                return
            start = end


def longest_first(counts: Sequence[int], room: int) -> list[int]:
    """How many tokens of one text or two are kept, so that they are at most `room`: the longer one loses first.

    The library's rule for `longest_first`; where both lose, the one that was longer keeps the odd token.
    """
    if sum(counts) <= room:
        return list(counts)
    if len(counts) == 1:
        return [room]
    short, long = sorted(counts)
    long = max(short, room - short)
    if short + long > room:
        short, long = room // 2, room - room // 2
    return [short, long] if counts[0] <= counts[1] else [long, short]


def _layout(encoding: Encoding) -> list[tuple[int | None, list[int], list[int]]]:
    """The parts of an input in order: which sequence it is, or None with the ids that stand there; and their types."""
    found: list[tuple[int | None, list[int], list[int]]] = []
    for side, token, kind in zip(encoding.sequence_ids, encoding.ids, encoding.type_ids, strict=True):
        if side is None:
            found.append((None, [token], [kind]))
        elif all(side != known for known, _, _ in found):
            found.append((side, [], [kind]))
    return found


def windows_of(count: int, room: int, stride: int) -> int:
    """How many windows show `count` tokens, `room` each, if neighbours share `stride`, which is less than `room`."""
    return 1 if count <= room else 1 + -(-(count - room) // (room - stride))


def cuts(spec: Mapping[str, Any]) -> re.Pattern[str] | None:
    """Where texts may be cut for a tokenizer, from its file: in front of what matches. None: nowhere."""
    before, splits = _kinds(spec.get("normalizer")), _kinds(spec.get("pre_tokenizer"))
    added = [token["content"] for token in spec.get("added_tokens") or ()]
    takes_blanks = any(token.get("rstrip") for token in spec.get("added_tokens") or ())
    has_blanks = any(re.search(r"\s", content) for content in added)
    hides_dummy = any(re.match(rf"{_DUMMY}\W", content, re.IGNORECASE) for content in added)
    if takes_blanks or has_blanks or hides_dummy or not set(before) <= _PLAIN_NORMALIZERS:
        return None
    if splits == ["BertPreTokenizer"]:
        chinese = [part.get("handle_chinese_chars") for part in _flat(spec.get("normalizer"))]
        return BERT_MARK if chinese == [True] else MARK
    if splits == ["ByteLevel"] and _flat(spec["pre_tokenizer"])[0].get("use_regex", True):
        return MARK
    return BLANK if splits and set(splits) <= {"Whitespace", "WhitespaceSplit"} else None


def keeps_blank(spec: Mapping[str, Any]) -> bool:
    """Whether the processor takes the blank in front of a window's first token for one that it was given."""
    processor = spec.get("post_processor")
    return any(
        part.get("type") in ("RobertaProcessing", "ByteLevel")
        and part.get("add_prefix_space", True)
        and part.get("trim_offsets", True)
        for part in _flat(processor)
    )


_PLAIN_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"}


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


def _texts(item: Text) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else item


def _part(encoding: Encoding) -> _Part:
    words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
    spans = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    ids, types = np.array(encoding.ids, np.int64), np.array(encoding.type_ids, np.int64)
    return _Part(ids, types, spans, words, np.zeros(len(ids), np.bool_))


def _sides(encoding: Encoding) -> tuple[_Part, _Part, _Part]:
    """What stands before the second sequence, the sequence, and what stands behind it."""
    sides, whole = encoding.sequence_ids, _part(encoding)
    if 1 not in sides:
        return whole, whole[:0], whole[:0]
    first, last = sides.index(1), len(sides) - sides[::-1].index(1)
    return whole[:first], whole[first:last], whole[last:]


def _joined(parts: Sequence[_Part]) -> _Part:
    columns = zip(*((part.ids, part.types, part.spans, part.words, part.blanks) for part in parts), strict=True)
    return _Part(*(np.concatenate(column) for column in columns))


def _parts(inputs: Sequence[Text]) -> Iterator[list[Text]]:
    """One after the other, each as many inputs as are encoded at once, or a single longer one."""
    part: list[Text] = []
    size = 0
    for item in inputs:
        length = sum(map(len, _texts(item)))
        if part and size + length > _AT_ONCE:
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield part
