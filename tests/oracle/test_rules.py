"""The rules of decoding and windowing, each written out slowly beside the fast form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer as Fast
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from pgb_core.inference.errors import InvalidInput
from pgb_core.inference.steps import all_of
from pgb_core.inference.tasks.qa import Options, best
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Window

QUESTION = " who rang the harbour bell"
CONTEXT = "  The harbour bell  rang twice, before dawn; nobody in Brindlemoor answered it. the BELL rang on.  " * 3
PROCESSORS = ("template", "bert", "roberta", "roberta, prefixed", "roberta, untrimmed")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tokenizers with each way to join a pair; words are cut into several tokens."""
    folder = tmp_path_factory.mktemp("tokenizers")
    found = {}
    for name in PROCESSORS:
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        byte_level = name.startswith("roberta")
        tokenizer = Fast(models.BPE() if byte_level else models.WordPiece({}, unk_token="<unk>"))  # noqa: S106
        if byte_level:
            prefixed = name.endswith("prefixed")
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefixed)
            trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=special, show_progress=False)
            tokenizer.post_processor = processors.RobertaProcessing(
                ("</s>", 2), ("<s>", 0), trim_offsets=not name.endswith("untrimmed"), add_prefix_space=prefixed
            )
        else:
            tokenizer.normalizer = normalizers.BertNormalizer()
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False)
            tokenizer.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
            if name == "template":
                tokenizer.post_processor = processors.TemplateProcessing(
                    "<s> $A </s>", "<s> $A </s> $B:1 </s>:1", [("<s>", 0), ("</s>", 2)]
                )
        tokenizer.train_from_iterator([QUESTION, CONTEXT], trainer)
        found[name] = folder / f"{name}.json"
        tokenizer.save(str(found[name]))
    return found


def _refused(path: Path, length: int, stride: int) -> bool:
    try:
        all_of(Tokenizer.open(path, 512).windows(QUESTION, CONTEXT, length, stride, 256))
    except InvalidInput:
        return True
    return False


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize(("length", "stride"), [(60, 0), (60, 20), (47, 9), (512, 128)])
def test_windows_equal_those_of_a_truncated_pair(files: dict[str, Path], name: str, length: int, stride: int) -> None:
    """Tokens, types, words and characters are those that the tokenizer gives when it cuts a pair by itself."""
    assert _equal_windows(files[name], CONTEXT, length, stride) > 1 or length == 512


@pytest.mark.parametrize("options", [(True, True), (True, False), (False, True)], ids=str)
def test_windows_may_begin_with_any_number_of_blanks(tmp_path: Path, options: tuple[bool, bool]) -> None:
    """One is taken for a blank that was put in front of the text, where there is such; more are not. So it is with the
    blank that is put behind a special token and stands for no character."""
    prefixed, trimmed = options
    blank = "\u0120"
    merges = [(blank, blank), (2 * blank, blank), (blank, "w")]
    pieces = ["<s>", "<pad>", "</s>", *pre_tokenizers.ByteLevel.alphabet(), *map("".join, merges)]
    tokenizer = Fast(models.BPE({piece: n for n, piece in enumerate(pieces)}, merges))
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefixed)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trimmed, prefixed)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    context = "a b  c   d    e\n f \n\n  g\t\t h \u00a0 \u00a0i w</s>w</s>x </s> w  "
    taken = len(tokenizer.encode(QUESTION).ids) + 2
    for length in range(taken + 1, taken + 5):
        assert _equal_windows(tmp_path / "tokenizer.json", context, length, 0) > 5


def _equal_windows(path: Path, context: str, length: int, stride: int) -> int:
    """How many windows there are, held against those that the tokenizer gives when it cuts a pair by itself."""
    reference = Fast.from_file(str(path))
    reference.enable_truncation(length, stride=stride, strategy="only_second")
    whole = reference.encode(QUESTION, context)
    found = all_of(Tokenizer.open(path, 512).windows(QUESTION, context, length, stride, 256))
    for window, encoding in zip(found, [whole, *whole.overflowing], strict=True):
        assert (list(window.tokens.ids), list(window.tokens.types)) == (encoding.ids, encoding.type_ids)
        assert [tuple(span) for span in window.spans.tolist()] == encoding.offsets
        assert [window.word(token) for token in range(len(window.tokens))] == encoding.word_ids
        assert list(window.context) == [n for n, side in enumerate(encoding.sequence_ids) if side == 1]
    return len(found)


def test_windows_are_refused_where_truncation_fails(files: dict[str, Path]) -> None:
    """At every length, the widest stride taken is one less than the room that the question leaves."""
    asked = len(Fast.from_file(str(files["bert"])).encode(QUESTION, add_special_tokens=False))
    for length in range(asked + 4, asked + 9):
        room = length - asked - 3
        assert [_refused(files["bert"], length, stride) for stride in (room - 1, room)] == [False, True]
    assert _refused(files["bert"], asked + 3, 0)


def test_a_context_that_fits_needs_no_room_for_a_stride(files: dict[str, Path]) -> None:
    """The stride matters only where a context is cut; but no window shares more than it can hold of one text."""
    tokenizer = Tokenizer.open(files["bert"], 512)
    (window,) = all_of(tokenizer.windows(QUESTION, "bell", 100, 98, 256))
    assert len(window.tokens) < 100
    with pytest.raises(InvalidInput, match="cannot share so many"):
        all_of(tokenizer.windows(QUESTION, "bell", 100, 99, 256))


def _softmax(logits: NDArray[np.float32], allowed: list[bool]) -> NDArray[np.float32]:
    powers = [np.exp(x - logits[allowed].max()) if ok else np.float32(0) for x, ok in zip(logits, allowed, strict=True)]
    return np.array(powers, np.float32) / np.sum(powers, dtype=np.float32)


def _characters(window: Window, first: int, last: int, align: bool) -> tuple[int, int]:
    """Of whole words of the context, where both tokens are of one."""
    word = window.word
    ends = [first], [last]
    if align:
        words = [[n for n in window.context if word(n) == word(t)] for t in (first, last)]
        if all(words):
            ends = words[0], words[1]
    return window.characters(ends[0][0])[0], window.characters(ends[1][-1])[1]


def _slow(windows: list[Window], logits: list[NDArray[np.float32]], options: Options) -> list[list[object]]:
    """Every pair of tokens of every window, one by one. [text, start, end, score] each."""
    found: list[list[object]] = []
    nulls = []
    for window, rows in zip(windows, logits, strict=True):
        ids = list(window.tokens.ids)
        allowed = [place in window.context or token == ids[0] for place, token in enumerate(ids)]
        start, end = _softmax(rows[:, 0], allowed), _softmax(rows[:, 1], allowed)
        nulls.append(start[0] * end[0])
        pairs = [
            (float(start[s] * end[e]), s, e)
            for s in range(1, len(ids))
            for e in range(s, min(s + options.max_answer_length, len(ids)))
            if start[s] * end[e] > 0
        ]
        count = 2 * options.top_k + 10 if options.align_to_words else options.top_k
        for score, s, e in sorted(pairs, key=lambda pair: -pair[0])[:count]:
            first, last = _characters(window, s, e, options.align_to_words)
            same = [answer for answer in found if str(answer[0]).lower() == CONTEXT[first:last].lower()]
            if same:
                same[0][3] += score  # type: ignore[operator]
            else:
                found.append([CONTEXT[first:last], first, last, score])
    if options.handle_impossible:
        found.append(["", 0, 0, float(min(nulls))])
    return sorted(found, key=lambda answer: -float(str(answer[3])))[: options.top_k]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(3, 1),
        Options(20, 50, True),
        Options(5, 1000, True, False),
        Options(1, 15, False, False),
        Options(50, 4, False, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_the_band_finds_what_all_pairs_hold(files: dict[str, Path], name: str, options: Options, seed: int) -> None:
    """Over several windows, with logits from flat to steep and many of them equal, and equal answers to merge."""
    random = np.random.default_rng(seed)
    question = QUESTION + " <s> then" if seed == 3 else QUESTION
    windows = all_of(Tokenizer.open(files[name], 512).windows(question, CONTEXT, 64, 12, 256))
    logits = [(random.normal(size=(len(w.tokens), 2)) * (1, 4, 30, 9)[seed]).astype(np.float32) for w in windows]
    if seed == 1:
        logits = [np.rint(rows) for rows in logits]
    found = [[a.text, a.start, a.end, a.score] for a in all_of(best(CONTEXT, windows, logits, options))]
    wanted = _slow(windows, logits, options)
    assert [answer[:3] for answer in found] == [answer[:3] for answer in wanted]
    assert [answer[3] for answer in found] == pytest.approx([answer[3] for answer in wanted], rel=1e-5)
