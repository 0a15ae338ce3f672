"""Texts in pieces: the same tokens as of the whole, and no more of them than are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Fast
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from pgb_core.inference import pieces
from pgb_core.inference import tokenizer as module
from pgb_core.inference.errors import InvalidInput, TooLarge
from pgb_core.inference.pieces import cuts
from pgb_core.inference.steps import all_of
from pgb_core.inference.tokenizer import Tokenizer, limited, windows_of

LENGTH = 24
CORPUS = [
    "the lamp burned whale oil, but the keepers' soon-changed to paraffin!",
    "漢字 mixed with words, ärger & émoji 😀",
]
PIECES = [
    "the",
    "lamp",
    "burned",
    "Paraffin",
    "keepers'",
    "it's",
    "漢",
    "字",
    "!",
    "?!",
    "...",
    "_",
    "a_b",
    "é",
    "e\u0301",
]
PIECES += [
    "e\u0301",
    "😀",
    "1984",
    "x1y2",
    "[MASK]",
    "[SEP]",
    "\n",
    "  ",
    "\t",
    "İ",
    "Σ",
    "ς",
    "مرحبا",
    "\u200b",
    "a",
    "ß",
]
WORDS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=120)
TEXTS = st.builds(lambda words, between: between.join(words), WORDS, st.sampled_from([" ", "", " ", ", "]))


def bert(chinese: bool = True) -> Fast:
    """Word pieces as of BERT."""
    found = Fast(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - no password
    found.normalizer = normalizers.BertNormalizer(handle_chinese_chars=chinese)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    found.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    found.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return found


def roberta(prefix: bool = False) -> Fast:
    """Byte pairs as of RoBERTa, with a mask that swallows the blank before it."""
    from tokenizers import AddedToken

    found = Fast(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>", "<pad>", "</s>"], initial_alphabet=alphabet)
    found.train_from_iterator(CORPUS, trainer)
    found.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    found.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=prefix)
    return found


def xlm_roberta() -> Fast:
    """Unigrams as of XLM-RoBERTa, with a mask that swallows the blank before it."""
    from tokenizers import AddedToken

    found = Fast(models.Unigram())
    found.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    found.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>")  # noqa: S106
    found.train_from_iterator(CORPUS, trainer)
    found.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    ends = [("<s>", 0), ("</s>", 2)]
    found.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    return found


MAKERS = {
    "bert": bert,
    "bert, words of ideographs": lambda: bert(chinese=False),
    "roberta": roberta,
    "roberta with a blank before": lambda: roberta(prefix=True),
    "xlm-roberta": xlm_roberta,
}


@pytest.fixture(scope="module", params=MAKERS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Fast]:
    """Ours, with pieces so short that every text has several; and the library's."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made = MAKERS[request.param]()
    made.save(str(path))
    return Tokenizer.open(path, LENGTH), made


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut whatever can be cut."""
    monkeypatch.setattr(pieces, "AT_ONCE", 16)
    monkeypatch.setattr(module, "_PER_TOKEN", 1)
    monkeypatch.setattr(module, "_MEASURED", 20)


@given(text=TEXTS)
def test_a_text_is_cut_as_the_library_cuts_it(pair: tuple[Tokenizer, Fast], text: str) -> None:
    """Right and left, though only a part of it was tokenised."""
    ours, theirs = pair
    for side in ("right", "left"):
        theirs.enable_truncation(LENGTH, direction=side)
        wanted = theirs.encode(text)
        (found,) = all_of(ours.texts([text], side))
        assert list(found.ids) == wanted.ids
        assert found.cut == bool(wanted.overflowing)
    theirs.no_truncation()


@given(first=TEXTS, second=TEXTS)
def test_a_pair_is_cut_as_the_library_cuts_it(pair: tuple[Tokenizer, Fast], first: str, second: str) -> None:
    """On either side, and it says so. The longer text loses more; of two that are both longer than is measured, each
    half."""
    ours, theirs = pair
    for side in ("right", "left"):
        theirs.enable_truncation(LENGTH, direction=side)
        wanted = theirs.encode(first, second)
        (found,) = all_of(ours.texts([(first, second)], side))
        assert found.cut == bool(wanted.overflowing)
        if all(len(text) > 20 + 4 for text in (first, second)):
            assert len(found.ids) == len(wanted.ids)
            assert abs(list(found.types).count(1) - wanted.type_ids.count(1)) <= 1
        else:
            assert list(found.ids) == wanted.ids
    theirs.no_truncation()


@given(context=TEXTS, question=st.sampled_from(["who", "the lamp?"]))
def test_windows_of_pieces_are_windows_of_the_whole(pair: tuple[Tokenizer, Fast], context: str, question: str) -> None:
    """Ids, types, characters and words of every token."""
    ours, theirs = pair
    length, stride = 40, 5
    plain = Fast.from_str(theirs.to_str())
    join, plain.post_processor = plain.post_processor, None
    asked, given_ = plain.encode(question), plain.encode(context)
    given_.truncate(length - len(asked) - join.num_special_tokens_to_add(True), stride=stride)
    wanted = [join.process(asked, part) for part in (given_, *given_.overflowing)]
    found = all_of(ours.windows(question, context, length, stride, 1000))
    assert len(found) == len(wanted)
    for window, encoding in zip(found, wanted, strict=True):
        assert list(window.tokens.ids) == encoding.ids
        assert list(window.tokens.types) == encoding.type_ids
        assert [tuple(span) for span in window.spans.tolist()] == encoding.offsets
        for token in window.context:
            word = encoding.token_to_word(token)
            assert window.characters(token) == encoding.token_to_chars(token)
            ours_word = window.word(token)
            assert (ours_word is None) == (word is None)
            if word is not None and ours_word is not None:
                assert window.characters_of_word(ours_word) == encoding.word_to_chars(word, 1)


@given(st.integers(1, 400), st.integers(2, 60), st.data())
def test_windows_are_counted_before_one_is_made(count: int, room: int, data: st.DataObject) -> None:
    """As the library cuts them."""
    stride = data.draw(st.integers(0, room - 1))
    starts = [0]
    while starts[-1] + room < count:
        starts.append(starts[-1] + room - stride)
    assert windows_of(count, room, stride) == len(starts)


def test_more_windows_than_are_taken_are_refused_after_the_first_pieces(tmp_path: Path) -> None:
    """What is read of a text of 100,000 marks is what shows that there are too many."""
    path = tmp_path / "tokenizer.json"
    bert().save(str(path))
    read = []
    with pytest.raises(TooLarge):
        read.extend(Tokenizer.open(path, 512).windows("who", "!" * 100_000, 384, 370, 10))
    assert sum(read) < 2_000


def test_a_long_text_is_read_only_as_far_as_the_model_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever side is kept."""
    path = tmp_path / "tokenizer.json"
    bert().save(str(path))
    ours = Tokenizer.open(path, LENGTH)
    for side in ("right", "left"):
        assert sum(ours.texts(["the lamp, burned " * 10_000], side)) < 1_000


def test_of_a_long_text_as_much_as_fills_the_model_is_thought_to_be_read(tmp_path: Path) -> None:
    """Each text by itself; all of one that cannot be cut."""
    path, whole = tmp_path / "cut.json", tmp_path / "whole.json"
    made = bert()
    made.save(str(path))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits()])
    made.save(str(whole))
    texts = ["a" * 10, ("b" * 100, "c" * 5)]
    assert [Tokenizer.open(one, LENGTH).readable(texts) for one in (path, whole)] == [10 + LENGTH + 5, 115]


def test_unigrams_are_cut_only_behind_a_split_at_blanks() -> None:
    """Without one, blanks are a part of words."""
    spec = json.loads(xlm_roberta().to_str())
    assert cuts(spec) is pieces.BLANK
    assert cuts({**spec, "pre_tokenizer": spec["pre_tokenizer"]["pretokenizers"][1]}) is None


def test_what_cannot_be_cut_is_bounded_as_a_whole(tmp_path: Path) -> None:
    """A tokenizer of an unknown kind gets texts whole. Each counts double, and a request takes only so much."""
    path = tmp_path / "tokenizer.json"
    made = bert()
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits()])
    made.save(str(path))
    ours = Tokenizer.open(path, LENGTH)
    assert sum(ours.texts(["the lamp " * 100], most=2_000)) == 900
    with pytest.raises(TooLarge):
        all_of(ours.texts(["the lamp " * 100] * 2, most=2_000))


def test_a_question_that_fills_the_window_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    """However long it is."""
    path = tmp_path / "tokenizer.json"
    bert().save(str(path))
    steps = Tokenizer.open(path, 512).windows("who? " * 40_000, "the lamp", 64, 8, 10)
    with pytest.raises(InvalidInput):
        all_of(steps)


def test_work_stops_once_it_has_read_too_much(tmp_path: Path) -> None:
    """A question counts as often as it is read, and so does its context."""
    path = tmp_path / "tokenizer.json"
    bert().save(str(path))
    ours = Tokenizer.open(path, 512)
    words = f"{'a' * 150} " * 100  # each of them is one token, so a window holds them all
    assert sum(ours.windows(words, "the lamp", 512, 8, 10)) > 2 * len(words)
    read: list[int] = []
    with pytest.raises(TooLarge, match="too long to tokenise"):
        read.extend(limited(ours.windows(words, words, 512, 8, 10), len(words)))
    assert sum(read) <= len(words)
    (window,) = all_of(limited(ours.windows(words, words, 512, 8, 10)))
    assert len(window.context) == 100


@pytest.mark.parametrize(
    "token",
    [
        {"content": "two words", "rstrip": False},
        {"content": "<mask>", "rstrip": True},
        {"content": "A-1", "rstrip": False},
    ],
)
def test_a_tokenizer_whose_own_tokens_reach_over_blanks_gets_texts_whole(token: dict[str, object]) -> None:
    """So does one that swallows the blank behind a token, or the dummy of a piece."""
    spec = json.loads(bert().to_str())
    assert cuts(spec) is not None
    spec["added_tokens"].append(token)
    assert cuts(spec) is None
