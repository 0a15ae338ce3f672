"""Questions in all the ways that tools write them: the same rows, or a refusal with its place."""

import json
from pathlib import Path

import pytest

from pgb_core.data import Data, Question, read_data, unplaced
from pgb_core.errors import DataError

CONTEXT = "the old town sang in the town hall"
KNOWN = {"id": "k", "question": "what sang", "answers": [{"text": "old town", "answer_start": 4}]}


def read(folder: Path, *items: dict[str, object], context: object = CONTEXT) -> Data:
    """A file with one paragraph."""
    raw = {"data": [{"paragraphs": [{"context": context, "qas": list(items)}]}]}
    (folder / "q.json").write_text(json.dumps(raw))
    return read_data(folder / "q.json", "questions")


def answers(data: Data) -> list[object]:
    """Of every question."""
    return [row.answers for row in data.rows if isinstance(row, Question)]


NOTHING: list[dict[str, object]] = [
    {"answers": [], "is_impossible": True},
    {"answers": [{"text": "", "answer_start": -1}]},
    {"answers": [{"text": "", "answer_start": -1}], "is_impossible": True},
    {"is_impossible": True},
    {"is_impossible": True, "answers": None},
    {"is_impossible": True, "plausible_answers": [{"text": "town", "answer_start": 8}]},
]


@pytest.mark.parametrize("written", NOTHING)
def test_unanswerable_is_one_thing(written: dict[str, object], tmp_path: Path) -> None:
    """Alone in a file, among others, and beside an empty list."""
    item = {"id": "u", "question": "who"}
    assert answers(read(tmp_path, item | written)) == [()]
    assert answers(read(tmp_path, item | written, KNOWN)) == [(), (("old town", 4),)]
    assert answers(read(tmp_path, item | written, item | {"answers": []})) == [(), ()]


def test_where_nobody_looked_there_is_no_label(tmp_path: Path) -> None:
    """No answers at all, and lists that are all empty; said to be answerable, yet without an answer."""
    item = {"id": "u", "question": "who"}
    assert answers(read(tmp_path, item, item | {"answers": []})) == [None, None]
    assert answers(read(tmp_path, item | {"answers": [], "is_impossible": False}, KNOWN))[0] is None
    assert read(tmp_path, item).notes == ("q.json: 1 question: 1 not labelled",)


def test_an_answer_elsewhere_is_found_again_or_counted(tmp_path: Path) -> None:
    """Once in the context: moved. Twice or never: without a place, behind those that have one."""
    moved = {"id": "1", "question": "q", "answers": [{"text": "sang", "answer_start": 3}]}
    twice = {"id": "1", "question": "q", "answers": [{"text": "town", "answer_start": 0}]}
    never = {"id": "2", "question": "q", "answers": [{"text": "city", "answer_start": 4.0}]}
    both = {"id": "3", "question": "q", "answers": [{"text": "city"}, {"text": "sang"}]}
    data = read(tmp_path, KNOWN, moved, twice, never, both)
    assert answers(data) == [
        (("old town", 4),),
        (("sang", 13),),
        (("town", None),),
        (("city", None),),
        (("sang", 13), ("city", None)),
    ]
    assert [unplaced(row) for row in data.rows if isinstance(row, Question)] == [False, False, True, True, False]
    assert data.notes[0] == "q.json: 5 questions: 5 answered"
    assert "2 answers not at the character that the file says; found again" in data.notes[1]
    assert "2 questions of 5 whose answer is not in the context" in data.warnings[0]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"question": None}, "the question is null, not a text"),
        ({"question": 3}, "the question is a number"),
        ({"question": " "}, "the question is empty"),
        ({"question": "\ud800"}, "the question holds half of a surrogate pair"),
        ({"answers": "town"}, "'answers' is a text, not a list"),
        ({"answers": {"text": ["town"], "answer_start": [8]}}, "'answers' is an object, not a list"),
        ({"answers": ["town"]}, r"answers\[0\]: is a text; an answer has a 'text'"),
        ({"answers": [{"text": None, "answer_start": 0}]}, "its text is null"),
        ({"answers": [{"text": " ", "answer_start": 3}]}, "the answer is blank"),
        ({"answers": [{"text": "", "answer_start": 7}]}, "an empty answer at 7"),
        ({"answers": [{"text": "town", "answer_start": "8"}]}, "answer_start is '8'"),
        ({"answers": [{"text": "town", "answer_start": True}]}, "answer_start is true"),
        ({"answers": [{"text": "town", "answer_start": 8.5}]}, "answer_start is 8.5, not a whole number"),
        ({"answers": [{"text": "town", "answer_start": float("nan")}]}, "answer_start is NaN"),
        (
            {"answers": KNOWN["answers"], "is_impossible": True},
            "is true, yet it has the answer 'old town'",
        ),
        ({"answers": [{"text": "", "answer_start": -1}], "is_impossible": False}, "yet the answer is empty"),
        ({"answers": [{"text": "", "answer_start": -1}, {"text": "sang", "answer_start": 13}]}, "one answer is empty"),
        ({"is_impossible": "yes"}, "is_impossible is a text; write true or false"),
    ],
)
def test_what_says_nothing_or_two_things_is_refused(written: dict[str, object], said: str, tmp_path: Path) -> None:
    """With its place in the file."""
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, KNOWN, {"id": "x", "question": "who"} | written)
    assert "q.json: data[0].paragraphs[0].qas[1]" in str(caught.value)


@pytest.mark.parametrize(("context", "said"), [(None, "the context is null"), ("", "the context is empty")])
def test_a_context_is_a_text(context: object, said: str, tmp_path: Path) -> None:
    """Null is not the word."""
    with pytest.raises(DataError, match=said):
        read(tmp_path, KNOWN, context=context)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.json", "[]", "is a JSON list; not SQuAD JSON"),
        ("q.json", '{"data": [{"question": "a", "context": "b"}]}', r"data\[0\]: is a question; not SQuAD JSON"),
        ("q.json", '{"data": {}}', "'data' is an object, not a list"),
        ("q.json", '{"version": 1}', "lacks 'data'"),
        ("q.json", '{"a": 1}\n{"a": 2}\n', r"q\.json:2: not SQuAD JSON \(more than one value at character 1\)"),
        ("q.jsonl", "{}", "is JSON lines; questions are read from SQuAD .json"),
        ("q.csv", "a", "is a table; questions are read from SQuAD .json"),
        ("q.parquet", "a", "is a Parquet file"),
        ("q.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_another_kind_of_file_is_called_what_it_is(name: str, content: str, said: str, tmp_path: Path) -> None:
    """In words."""
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read_data(tmp_path / name, "questions")


def test_an_id_may_lack_and_may_be_anothers(tmp_path: Path) -> None:
    """Nothing is found by it."""
    assert len(read(tmp_path, KNOWN, KNOWN, {"question": "who", "answers": []}).rows) == 3
