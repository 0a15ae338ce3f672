"""From text to token ids, with `tokenizers` only. Thread-safe: nothing changes after construction.

Long work is a generator: each step tokenises one piece and yields, so that the caller can run other work or stop. Only
the part of a text that is needed is tokenised: as much as fits the model, or as the windows allow.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tokenizers import Encoding, processors
from tokenizers import Tokenizer as Fast

from pgb_core.errors import ArtifactError
from pgb_core.inference import pieces
from pgb_core.inference.encoded import Encoded, encoded_of, joined, sides_of
from pgb_core.inference.errors import InvalidInput, TooLarge
from pgb_core.inference.pieces import DUMMY
from pgb_core.inference.steps import Result, Work
from pgb_core.inference.tokens import Text, Tokens, Window
from pgb_core.inference.words import Words

SIDES = ("right", "left")
# Of one request: what takes about a second, whatever the characters are.
_MOST = 1_100_000
# Characters of a token, more than in most texts: the first guess at how much of a long text fills the model.
_PER_TOKEN = 6
# Of two long texts that are cut as a pair, the longer keeps an odd token: up to this length they are measured whole.
_MEASURED = 4_096


class Tokenizer:
    """The tokenizer of one artifact. side: the end of a text that is cut, when a request does not say."""

    @classmethod
    def open(cls, path: Path, max_length: int) -> Tokenizer:
        """From the file of an artifact. Raises ArtifactError where the installed `tokenizers` cannot read it."""
        try:
            return cls(path.read_text("utf-8"), max_length)
        except Exception as error:  # the library raises Exception itself
            raise ArtifactError(
                f"{path.parent}: {path.name} is not read by tokenizers {version('tokenizers')} ({error}); upgrade "
                "tokenizers, or make the artifact again"
            ) from error

    def __init__(self, file: str, max_length: int) -> None:
        """file: the content of `tokenizer.json`. max_length: tokens that the model takes."""
        self.max_length = max_length
        self._plain = Fast.from_str(file)
        self.side: str = (self._plain.truncation or {}).get("direction", SIDES[0])
        self._plain.no_padding()
        self._plain.no_truncation()
        # Kept apart: it trims offsets of byte-level tokens, and would trim twice what it sees twice.
        self._join = self._plain.post_processor or processors.TemplateProcessing("$A", "$A $B:1", [])
        self._plain.post_processor = None
        spec = json.loads(file)
        self._pieces = pieces.Pieces(spec)
        self._keeps_blank = pieces.keeps_blank(spec)
        self._blank: int | None = self._plain.token_to_id(pieces.BYTE_BLANK)
        self._words = Words(spec, self._plain)
        # What stands around one text, and around two.
        dummy = self._encoded(DUMMY)
        self._layouts = [_layout(self._join.process(*dummies)) for dummies in ((dummy,), (dummy, dummy))]
        self._around = _around(self._layouts[0])

    def shorter(self, most: int) -> Tokenizer:
        """The same for a model that takes at most so many tokens."""
        found = copy(self)
        found.max_length = min(most, self.max_length)
        return found

    def readable(self, inputs: Sequence[Text]) -> int:
        """About how many characters of the inputs will be tokenised."""
        most = _PER_TOKEN * self.max_length if self._pieces.can_cut else _MOST
        if sum(map(_characters, inputs)) <= most:
            return sum(map(_characters, inputs))
        return sum(min(len(text), most) for item in inputs for text in _texts(item))

    def texts(self, inputs: Sequence[Text], side: str | None = None, most: int = _MOST) -> Work[list[Tokens]]:
        """Texts or pairs, cut to the model's length on that side, or its own; of a pair, the longer text loses more.

        Raises TooLarge when they are more than `most` characters to tokenise, which takes about a second by default.
        """
        side = side or self.side
        found: list[Tokens] = []
        seen, longest = 0, max(_MEASURED, _PER_TOKEN * self.max_length)
        short = min(_MEASURED, _PER_TOKEN * self.max_length)
        for part in portions(inputs, _characters, pieces.AT_ONCE):
            taken: list[tuple[str, list[int] | None]] = []
            for item in part:
                if isinstance(item, str) and len(item) <= short:
                    taken.append((item, None))
                else:
                    taken += yield from self._taken(item, side)
            read = sum(len(text) for text, _ in taken)
            # A long text that could not be cut was searched for a place, too; it may be all blanks, which take longest.
            whole = sum(len(text) for text, ids in taken if ids is None and len(text) > longest)
            seen += read + whole
            check_size(seen, most)
            ids = iter(self._known(taken))
            found += [
                self._alone(next(ids), side) if isinstance(item, str) else self._fitted([next(ids), next(ids)], side)
                for item in part
            ]
            yield read
        return found

    def _known(self, taken: Sequence[tuple[str, list[int] | None]]) -> list[list[int]]:
        """The tokens of each text, those that were counted already as they are; the library is asked once."""
        known = [self._words.ids(text) if ids is None else ids for text, ids in taken]
        others = [text for (text, _), ids in zip(taken, known, strict=True) if ids is None]
        if not others:
            return known  # type: ignore[return-value]
        encoded = iter(self._plain.encode_batch_fast(others))
        return [next(encoded).ids if ids is None else ids for ids in known]

    def _alone(self, ids: list[int], side: str) -> Tokens:
        """One text in the model's layout, cut to its length."""
        before, after, kind = self._around
        room = self.max_length - len(before) - len(after)
        if len(ids) > room or kind is None:
            return self._fitted([ids], side)
        whole = [*before, *ids, *after]
        return Tokens(whole, [kind] * len(whole))

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

    def whole(self, texts: Sequence[str], stride: int, most: int, characters: int = _MOST) -> Work[list[list[Tokens]]]:
        """Each text without a cut: windows that the model takes, of which neighbours share `stride` tokens.

        Raises InvalidInput when windows could never share so much; TooLarge when there were more than `most` of all
        texts, or more than so many characters to tokenise.
        """
        room = self.max_length - sum(len(ids) for _, ids, _ in self._layouts[0])
        if stride >= room:
            raise InvalidInput("windows of that length cannot share so many tokens; lower the stride")
        check_size(sum(map(len, texts)), characters)
        found: list[list[Tokens]] = []
        left = most
        for text in texts:
            ids: list[int] = []
            for piece, start in self._pieces.of(text):
                encoded = self._encoded(piece)
                firsts = [first for first, _ in encoded.offsets] if start else []
                ids += encoded.ids[bisect_left(firsts, len(DUMMY)) :]
                if windows_of(len(ids), room, stride) > left:
                    raise TooLarge("the texts need more windows than one request may have")
                yield len(piece)
            count, step = windows_of(len(ids), room, stride), room - stride
            found.append([self._alone(ids[n * step : n * step + room], self.side) for n in range(count)])
            left -= count
        return found

    def windows(self, question: str, context: str, length: int, stride: int, most: int) -> Work[list[Window]]:
        """Overlapping windows of at most `length` tokens; neighbours share `stride` tokens of context.

        Raises InvalidInput when the context does not fit and the question leaves no room to cut it,
        or when windows of that length could never share so much; TooLarge when there were more than `most`.
        """
        special = self._join.num_special_tokens_to_add
        if stride > length - special(False):
            raise InvalidInput("windows of that length cannot share so many tokens; lower the stride")
        text, _ = yield from self._enough(question, length)
        asked = self._encoded(text)
        yield len(text)
        room = length - len(asked) - special(True)
        before, _, after = sides_of(self._join.process(asked, self._encoded(DUMMY)))
        parts, count, last = [before[:0]], 0, -1
        for piece, start in self._pieces.of(context):
            encoded = self._encoded(piece)
            if not start and not len(encoded) and piece == context:  # the processor says what stands for nothing
                before, after = encoded_of(self._join.process(asked, encoded)), after[:0]
            raw = encoded_of(encoded) if self._keeps_blank else None  # processing changes it
            part = sides_of(self._join.process(asked, encoded))[1]
            if raw is not None:
                part = replace(part, blanks=part.spans[:, 0] - raw.spans[:, 0] == 1)  # of more, none was given
            if start:
                part = part[int(np.searchsorted(part.spans[:, 0], len(DUMMY))) :]
                part = part.moved(start - len(DUMMY), last + 1)
            if len(part):
                last = int(part.words[-1])
            parts.append(part)
            count += len(part)
            if count > room and stride >= room:
                raise InvalidInput("the question leaves no room for its context; shorten it or lower the stride")
            if windows_of(count, room, stride) > most:
                raise TooLarge("the context needs more windows than one request may have")
            yield len(piece)
        given = joined(parts)
        step = max(room - stride, 1)
        found = []
        for n in range(windows_of(count, room, stride)):
            part = given[n * step : n * step + max(room, 0)]
            found.append(self._window(before, part.with_blank(self._blank) if n and self._keeps_blank else part, after))
        return found

    def _window(self, before: Encoded, part: Encoded, after: Encoded) -> Window:
        whole = joined([before, part, after])
        first = len(before) if len(part) else 0
        return Window(Tokens(whole.ids, whole.types), range(first, first + len(part)), whole.spans, whole.words)

    def _encoded(self, text: str) -> Encoding:
        return self._plain.encode_batch([text])[0]  # other threads run meanwhile, as they do not beside `encode`

    def _taken(self, item: Text, side: str) -> Work[list[tuple[str, list[int] | None]]]:
        """The part of each text of an input that decides what is read, with its tokens where they were counted."""
        texts = _texts(item)
        long = [len(text) > (_MEASURED if len(texts) > 1 else _PER_TOKEN * self.max_length) for text in texts]
        least = self.max_length
        if long.count(True) == 1 and len(texts) > 1:  # which of the two is longer is decided by all of the short one
            short = texts[long.index(False)]
            least = max(least, len(self._known([(short, None)])[0]))
        found = []
        for text, cut in zip(texts, long, strict=True):
            found.append((yield from self._enough(text, least, side)) if cut else (text, None))
        return found

    def _enough(self, text: str, tokens: int, side: str = "right") -> Work[tuple[str, list[int] | None]]:
        """As much of a text as has more than `tokens` tokens, with the tokens of that much; or all of it."""
        size = _PER_TOKEN * self.max_length
        while self._pieces.can_cut and size < len(text):
            part = self._pieces.begin(text, size) if side == "right" else self._pieces.end(text, size)
            if len(part) == len(text):
                break
            (ids,) = self._known([(part, None)])
            if len(ids) > tokens:
                return part, ids
            yield len(part)
            size *= 2
        return text, None


def check_size(characters: int, most: int = _MOST) -> None:
    """Raises TooLarge for more than `most` characters, which take about a second to tokenise by default."""
    if characters > most:
        raise TooLarge("the texts take too long to tokenise; send fewer at a time")


def limited(work: Work[Result], most: int = _MOST) -> Work[Result]:
    """The same work. Raises TooLarge when its steps have read more than `most` characters."""
    read = 0
    while True:
        try:
            step = next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        read += step
        check_size(read, most)
        yield step


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


def _around(layout: Sequence[tuple[int | None, list[int], list[int]]]) -> tuple[list[int], list[int], int | None]:
    """What stands before one text and behind it, and the type of every token; no type where there are several."""
    at = [sequence is None for sequence, _, _ in layout].index(False)
    kinds = {kind for _, _, kinds in layout for kind in kinds}
    before, after = ([token for _, ids, _ in part for token in ids] for part in (layout[:at], layout[at + 1 :]))
    return before, after, kinds.pop() if len(kinds) == 1 else None


def windows_of(count: int, room: int, stride: int) -> int:
    """How many windows show `count` tokens, `room` each, if neighbours share `stride`, which is less than `room`."""
    return 1 if count <= room else 1 + -(-(count - room) // (room - stride))


def _texts(item: Text) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else item


def _characters(item: Text) -> int:
    return len(item) if isinstance(item, str) else sum(map(len, item))


def portions(inputs: Sequence[Text], size: Callable[[Text], int], most: int) -> Iterator[list[Text]]:
    """One after the other, each as many inputs as are of that size together, or a single larger one."""
    part: list[Text] = []
    whole = 0
    for item in inputs:
        more = size(item)
        if part and whole + more > most:
            yield part
            part, whole = [], 0
        part.append(item)
        whole += more
    if part:
        yield part
