"""Makes passages and questions about invented places and people from templates, the same ones for the same seed.

A file of topics has the sentences and their questions, a file of words what their gaps are filled with. `read_topics`
and `read_words` say how they are written. The answer of every question is the word that fills a gap, at its place.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from pgb_core.errors import DataError

_CHOICE = re.compile(r"\[([^\]]*)\]")
_GAP = re.compile(r"\{([a-z]+(?:\.\d)?)\}")
_VOWELS = "aeiou"

T = TypeVar("T")
Words = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Sentence:
    """A sentence, and its questions: the wording, and the gap of the sentence that answers it."""

    text: str
    questions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Topic:
    """What a passage is about. The first sentence introduces what the others speak of."""

    title: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Passages:
    """What to make. sentences: how many of them a passage has, drawn anew for each; questions: how many at most are
    asked of each, or all; answers: whether each question has its answer.
    """

    count: int
    seed: int
    sentences: range
    questions: int | None = None
    answers: bool = True


def read_topics(text: str) -> tuple[Topic, ...]:
    """Topics of a file: `== title`, then sentences, each followed by its questions, `? question {gap}`.

    `{pool}` stands for a word of a pool and `{pool.2}` for another one; the same gap is the same word in the whole
    passage. `[a|b]` is one of two wordings. Lines that begin with `#` are remarks. Raises DataError for a question
    that comes before every sentence, or whose answer its sentence does not hold.
    """
    topics: list[Topic] = []
    for block in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        title, *lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        sentences: list[Sentence] = []
        for line in lines:
            if not line.startswith("? "):
                sentences.append(Sentence(line, ()))
                continue
            question, _, answer = line.removeprefix("? ").rpartition(" ")
            gap = _GAP.fullmatch(answer)
            if not sentences or gap is None or answer not in sentences[-1].text:
                raise DataError(f"topic {title!r}: the sentence before {line!r} does not hold its answer; write it")
            last = sentences[-1]
            sentences[-1] = Sentence(last.text, (*last.questions, (question, gap[1])))
        topics.append(Topic(title, tuple(sentences)))
    return tuple(topics)


def read_words(text: str, half: int) -> dict[str, list[str]]:
    """Pools of a file: `pool: word; word; …`. half: 0 takes the words at even places of each pool, 1 the others."""
    lines = [line.partition(": ") for line in text.splitlines() if line and not line.startswith("#")]
    return {pool: words.split("; ")[half::2] for pool, _, words in lines}


def made(topics: Sequence[Topic], words: Words, asked: Passages) -> list[dict[str, object]]:
    """Passages on each topic in turn, as the data of a file in SQuAD's format.

    Raises DataError for a gap whose pool is missing or too small.
    """
    chance = random.Random(asked.seed)  # noqa: S311
    return [_passage(topics[n % len(topics)], words, chance, n, asked) for n in range(asked.count)]


def _passage(topic: Topic, words: Words, chance: random.Random, number: int, asked: Passages) -> dict[str, object]:
    first, *others = topic.sentences
    count = min(_one(asked.sentences, chance) - 1, len(others))
    chosen = [first, *(others[n] for n in sorted(_shuffled(range(len(others)), chance)[:count]))]
    filled = _filled(topic, words, chance)
    context, found = "", []
    for sentence in chosen:
        text, places = _written(_chosen(sentence.text, chance), filled)
        start = len(context) + bool(context)
        context = f"{context} {text}".lstrip()
        for wording, gap in sentence.questions:
            question, _ = _written(_chosen(wording, chance), filled)
            begin, end = places[gap]
            found.append((question, text[begin:end], start + begin))
    kept = _shuffled(found, chance)[: asked.questions]
    qas: list[dict[str, object]] = [
        {"id": f"{number}-{n}", "question": question, "answers": [{"text": answer, "answer_start": begin}]}
        for n, (question, answer, begin) in enumerate(kept)
    ]
    if not asked.answers:
        for one in qas:
            del one["answers"]
    title, _ = _written(topic.title, filled)
    return {"title": title, "paragraphs": [{"context": context, "qas": qas}]}


def _filled(topic: Topic, words: Words, chance: random.Random) -> dict[str, str]:
    """A word for each gap of a topic, all different."""
    texts = chain([topic.title], *([s.text, *(wording for wording, _ in s.questions)] for s in topic.sentences))
    gaps = list(dict.fromkeys(gap for text in texts for gap in _GAP.findall(text)))
    left: dict[str, list[str]] = {}
    filled = {}
    for gap in gaps:
        pool = gap.partition(".")[0]
        if pool not in left:
            left[pool] = _shuffled(words.get(pool, ()), chance)
        if not left[pool]:
            raise DataError(f"topic {topic.title!r}: no word is left for {{{gap}}}; give its pool more")
        filled[gap] = left[pool].pop()
    return filled


def _written(text: str, filled: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """A text with its gaps filled and a capital first, and where each gap's word lies in it."""
    places: dict[str, tuple[int, int]] = {}
    done, end = "", 0
    for gap in _GAP.finditer(text):
        done += text[end : gap.start()]
        word, end = filled[gap[1]], gap.end()
        if word[0].lower() in _VOWELS and re.search(r"\b[Aa] $", done):
            done = f"{done[:-1]}n "
        places.setdefault(gap[1], (len(done), len(done) + len(word)))
        done += word
    done += text[end:]
    return done[:1].upper() + done[1:], places


def _chosen(text: str, chance: random.Random) -> str:
    return _CHOICE.sub(lambda found: _one(found[1].split("|"), chance), text)


# From `random` alone, whose numbers are the same in every version of Python; its `choice` and `shuffle` promise less.
def _one(items: Sequence[T], chance: random.Random) -> T:
    return items[int(chance.random() * len(items))]


def _shuffled(items: Sequence[T], chance: random.Random) -> list[T]:
    keys = [chance.random() for _ in items]
    return [items[n] for n in sorted(range(len(items)), key=keys.__getitem__)]
