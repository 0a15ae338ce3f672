"""Plain texts have the library's tokens, without asking it."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Fast

from pgb_core.inference.words import Words

CORPUS = ["The lamp burned whale oil, but the keepers' soon-changed to paraffin!", "It's 1984 or x1y2 again."]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["the", "Lamp", "burning", "keepers'", "x1y2", "1984", "...", "$3.50", "a" * 101, "[mask]"]
PIECES += ["[MASK]", "  ", "\xe9"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(string.printable, max_size=12), max_size=20).map(" ".join)


def tokenizer(lowercase: bool = True, longest: int = 100) -> Fast:
    """Word pieces as of BERT."""
    found = Fast(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=longest))  # noqa: S106 - no password
    found.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIAL))
    return found


def words(library: Fast) -> Words:
    """Of a tokenizer as its file has it."""
    return Words(json.loads(library.to_str()), library)


MADE = {"uncased": tokenizer(), "cased": tokenizer(False), "short words": tokenizer(longest=4)}


@pytest.mark.parametrize("kind", MADE)
@given(text=TEXTS)
def test_plain_texts_have_the_tokens_of_the_library(kind: str, text: str) -> None:
    """Words that the vocabulary has not, and those that are too long, among them."""
    found = words(MADE[kind]).ids(text)
    assert found is None or found == MADE[kind].encode(text).ids


def test_printable_ascii_does_without_the_library() -> None:
    """And nothing else: neither other characters nor what the tokenizer finds before all else."""
    found = words(MADE["uncased"])
    assert found.ids("The lamp burned: $3.50, it's said!") is not None
    assert found.ids("") == []
    assert [found.ids(text) for text in ("caf\xe9", "a\nb", "a\x00b", "the [MASK] lamp", "the [mask]")] == [None] * 5


def test_another_tokenizer_is_left_to_the_library() -> None:
    """Of another kind, or with a token of its own that could be spelled otherwise after it was normalised."""
    other, accented = tokenizer(), tokenizer()
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    accented.add_tokens([AddedToken("\xe9", normalized=True)])
    assert words(other).ids("the lamp") is None
    assert words(accented).ids("the lamp") is None
