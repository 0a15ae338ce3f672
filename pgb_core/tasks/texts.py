"""Texts that different tokenizers split differently. A checkpoint is checked with them before any work begins."""

from __future__ import annotations

from collections.abc import Sequence

Text = tuple[str, str | None]

_SPACES = (" leading blank", "  two leading", "trailing blank ", "two  between", "\n", "a ", " a")
_SPECIAL = ("[SEP] [CLS] [MASK] [PAD] [UNK]", "a[SEP]b", "<s> </s> <mask> <pad> <unk>", "a</s>b", "<MASK> [mask]")
_ASKED = ("What was it?", "WHO is É. Zola", " where did it begin ?", "什么?", "how much")
SINGLE: tuple[str, ...] = (
    # plain
    "The film was good.",
    "A dull, overlong story that never finds its voice.",
    "it's",
    "x",
    "",
    " ",
    "12,345.67 (about 1/3) at 5:30pm -- e-mail: a.b@c.org, http://example.org/?q=1&r=2#top",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a" * 120,
    # of both cases
    "THE FILM WAS GOOD.",
    "iPhone vs. IBM in McDonald's",
    "ÄÖÜ STRASSE Straße ǅ İstanbul \u0131I",
    "ΣΊΣΥΦΟΣ σίσυφος",
    # with accents
    "Café déjà-vu naïve façade",
    "Cafe\u0301 de\u0301ja\u0300-vu",
    "Tiếng Việt rất hay",
    "Żółć gęślą jaźń",
    "ﬁne ﬂat ½ № ™",
    # in other scripts
    "今天天气很好。",
    "東京でラーメンを食べた",
    "한국어 문장입니다",
    "الفيلم كان جيدا جدا",
    "הסרט היה טוב מאוד",
    "यह फ़िल्म अच्छी थी",
    "Фильм был хорошим",
    "good 电影 film",
    # with marks that a tokenizer may drop
    "I 😍 it 👍🏽 👩‍👩‍👧",
    "zero\u200bwidth\u200djoin\u00adsoft",
    "\u202eright to left\u202c",
    "tab\tand\nline\r\nend",
    "\u00a0no-break\u3000wide",
    "\ufffd \x00 \x07 control",
    *_SPACES,
    *_SPECIAL,
)


def long_text(length: int) -> str:
    """A text of more than `length` tokens, and no longer than it must be: what the library cuts off a pair grows with
    the square of it."""
    return " ".join(f"word{n % 97} and another, Number {n};" for n in range(2 + length // 4))


def singles(words: str, added: Sequence[str]) -> list[Text]:
    """Texts and pairs, some too long. words: a long text; added: tokens that a checkpoint adds."""
    extra = _around(added)
    return [
        *((text, None) for text in (*SINGLE, *extra)),
        (words, None),
        (" " + words[::-1], None),
        *_PAIRS,
        *((e, e) for e in extra[:3]),
        ("", "b"),
        *_long(words),
        (words, "short"),
        (words, words[7:]),
    ]


def questions(words: str, added: Sequence[str]) -> list[Text]:
    """Questions with their contexts, some of these too long; parameters as `singles` has them."""
    contexts: list[Text] = [(_ASKED[n % len(_ASKED)], text) for n, text in enumerate(SINGLE) if text.strip()]
    return [
        *contexts,
        *((f"Who {text}?", other) for text, other in _PAIRS if other),
        *((e, e) for e in _around(added)),
        *_long(words),
    ]


def _around(added: Sequence[str]) -> list[str]:
    return [f"before {token} after{token}" for token in added[:12]]


def _long(words: str) -> list[Text]:
    return [("What was it?", words), ("What is " + "very " * 20 + "long?", words[::-1])]


_PAIRS: list[Text] = [(text, SINGLE[(7 * n + 3) % len(SINGLE)]) for n, text in enumerate(SINGLE) if n % 3 == 0]
