"""Questions in all the ways that tools write them: the same rows, or a refusal with its place."""

import json
from pathlib import Path

import pytest

from pgb_core.data import Data, QuestionRow, read_data, unplaced
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
    return [row.answers for row in data.rows if isinstance(row, QuestionRow)]


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
    open_ = {"id": "4", "question": "q", "answers": [{"text": "town"}]}
    data = read(tmp_path, moved, twice, never, both, open_, *[KNOWN] * 95)
    assert answers(data)[:6] == [
        (("sang", 13),),
        (("town", None),),
        (("city", None),),
        (("sang", 13), ("city", None)),
        (("town", None),),
        (("old town", 4),),
    ]
    lost = [unplaced(row) for row in data.rows if isinstance(row, QuestionRow)]
    assert lost[:6] == [False, True, True, False, True, False]
    assert data.notes[0] == "q.json: 100 questions: 100 answered"
    assert "1 answer not at the character that the file says; found again" in data.notes[1]
    assert "1 answer without a place; found by the text, which the context holds once" in data.notes[2]
    assert "3 questions of 100 whose answer is not in the context" in data.warnings[0]


def test_many_answers_elsewhere_are_refused(tmp_path: Path) -> None:
    """More than a few are no slips: their context may be another. One alone is, and so are places left out."""
    moved = {"id": "1", "question": "q", "answers": [{"text": "sang", "answer_start": 3}]}
    never = {"id": "2", "question": "q", "answers": [{"text": "city", "answer_start": 4}]}
    assert len(read(tmp_path, moved, KNOWN).rows) == 2
    assert len(read(tmp_path, *[moved] * 5, *[KNOWN] * 95).rows) == 100
    with pytest.raises(DataError, match="2 of 3 questions have an answer that is not where the file says"):
        read(tmp_path, KNOWN, moved, never)
    with pytest.raises(DataError) as caught:
        read(tmp_path, KNOWN, moved, moved, never, *[KNOWN] * 50)
    said = str(caught.value)
    assert "3 of 54 questions have an answer that is not where the file says" in said
    assert "(2 elsewhere in the context, once, 1 not in it at all; the first is" in said
    assert "qas[1])" in said
    assert "an answer without answer_start is found by its text" in said
    free = {"id": "1", "question": "q", "answers": [{"text": "sang"}]}
    assert answers(read(tmp_path, *[free] * 9)) == [(("sang", 13),)] * 9
    twice = free | {"answers": [{"text": "ana"}]}
    assert answers(read(tmp_path, twice, context="a banana")) == [(("ana", None),)]
    before = free | {"answers": [{"text": "sang", "answer_start": 13 - len(CONTEXT)}]}  # not counted from the end
    assert answers(read(tmp_path, before)) == [(("sang", 13),)]


FLAT = {"id": "k", "title": "t", "context": CONTEXT, "question": "what sang"}
HUB = FLAT | {"answers": {"text": ["old town"], "answer_start": [4]}}
NONE = FLAT | {"answers": {"text": [], "answer_start": []}}
OWN = FLAT | {"answers": [{"text": "old town", "answer_start": 4}]}
APART = [
    FLAT | {"answers.text": texts, "answers.answer_start": starts} for texts, starts in ((["old town"], [4]), ([], []))
]
ALONE = [FLAT | {"answer_text": text, "answer_start": start} for text, start in (("old town", 4), ("", None))]
SINGLE = [
    FLAT | {"answers": {"text": "old town", "answer_start": 4}, "is_impossible": 0.0},
    FLAT | {"answers": [], "is_impossible": 1},
]
PAGE = {"features": [], "rows": [{"row_idx": 0, "row": HUB, "truncated_cells": []}], "num_rows_total": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.json", json.dumps([HUB, NONE])),
        ("q.json", json.dumps(APART)),
        ("q.json", json.dumps(ALONE)),
        ("q.json", json.dumps(SINGLE)),
        ("q.json", json.dumps([HUB, NONE], indent=2)),
        ("q.jsonl", f"{json.dumps(HUB)}\n{json.dumps(NONE)}\n"),
        ("q.json", f"{json.dumps(HUB)}\n{json.dumps(NONE)}\n"),
        ("q.ndjson", f"{json.dumps(OWN)}\n{json.dumps(NONE)}\n"),
        ("q.json", json.dumps(PAGE | {"rows": [{"row": HUB}, {"row": NONE}], "num_rows_total": 2})),
        ("q.json", json.dumps({"version": "1", "data": [OWN, NONE]})),
        ("q.json", json.dumps({key: [HUB[key], NONE[key]] for key in HUB})),  # type: ignore[index]
        ("q.json", json.dumps({key: {"0": HUB[key], "1": NONE[key]} for key in HUB})),  # type: ignore[index]
    ],
)
def test_questions_a_row_each_are_read(name: str, content: str, tmp_path: Path) -> None:
    """As the hub has SQuAD: in a list, in lines, on a page of the datasets server, as pandas writes them."""
    (tmp_path / name).write_text(content)
    data = read_data(tmp_path / name, "questions")
    assert answers(data) == [(("old town", 4),), ()]
    assert [(row.question, row.context) for row in data.rows if isinstance(row, QuestionRow)] == [
        ("what sang", CONTEXT)
    ] * 2
    assert data.notes[0] == f"{name}: 2 questions: 1 answered, 1 unanswerable"


def test_an_empty_cell_of_an_answer_is_no_label(tmp_path: Path) -> None:
    """As pandas writes it."""
    (tmp_path / "q.json").write_text(json.dumps([*ALONE, FLAT | {"answer_text": float("nan"), "answer_start": None}]))
    assert answers(read_data(tmp_path / "q.json", "questions")) == [(("old town", 4),), (), None]


def test_a_row_that_is_no_question_is_refused_with_its_place(tmp_path: Path) -> None:
    """A key that is not read is told; a single row is a row."""
    for content, said in (
        ([FLAT, {"question": "who"}], r"q\.json\[1\]: no question as SQuAD has it \(lacks 'context'\)"),
        ([FLAT | {"question": None}], r"q\.json\[0\]: the question is null"),
        ([FLAT | {"context": float("nan")}], r"q\.json\[0\]: the context is empty \(NaN\)"),
        ([FLAT | {"answers": {"text": ["a", "b"], "answer_start": [1]}}], "needs as many 'text' as 'answer_start'"),
        ([FLAT, "who"], r"q\.json\[1\]: a text, not a JSON object"),
        (PAGE | {"rows": [{"row": HUB, "truncated_cells": ["context"]}]}, r"rows\[0\]: the page cut context short"),
    ):
        (tmp_path / "q.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=said):
            read_data(tmp_path / "q.json", "questions")
    (tmp_path / "q.jsonl").write_text(json.dumps(FLAT | {"answer": "old town"}))
    (note,) = read_data(tmp_path / "q.jsonl", "questions").notes
    assert note == "q.jsonl: 1 question: 1 not labelled; 'answer' is not read"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"question": None}, "the question is null, not a text"),
        ({"question": 3}, "the question is a number"),
        ({"question": " "}, "the question is empty"),
        ({"question": "\ud800"}, "the question holds half of a surrogate pair"),
        ({"answers": "town"}, "'answers' is a text, not a list"),
        ({"answers": {"text": ["town"]}}, "'answers' needs as many 'text' as 'answer_start'"),
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
        ({"is_impossible": 2}, "is_impossible is a number; write true or false"),
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
        ("q.json", "[]", "no rows"),
        ("q.json", '{"data": [{"context": "b"}]}', r"data\[0\]: no question as SQuAD has it \(lacks 'question'\)"),
        ("q.json", '{"data": {}}', "'data' is an object, not a list"),
        ("q.json", '{"version": 1}', "lacks 'data'"),
        ("q.json", '{"a": 1}\n{"a": 2}\n', r"q\.json:1: no question as SQuAD has it \(lacks 'context'\)"),
        ("q.json", '{"data": [\n{,}]}\n', r"q\.json:2: not SQuAD JSON \(expected property name"),
        ("q.jsonl", "{}", "lacks 'data'"),
        ("q.csv", "a", "is a table; questions are read from SQuAD .json"),
        ("q.xlsx", "a", "is an Excel file; questions are read from SQuAD .json"),
        ("q.txt", "a", "is plain text"),
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


ARTICLE = {"title": "t", "paragraphs": [{"context": CONTEXT, "qas": [KNOWN]}]}
PARAGRAPH = {"context": CONTEXT, "qas": [KNOWN]}


@pytest.mark.parametrize("row", [ARTICLE, PARAGRAPH])
def test_articles_and_paragraphs_without_what_squad_writes_around_them_are_read(
    row: dict[str, object], tmp_path: Path
) -> None:
    """In a list, as lines, alone, and a paragraph in place of an article."""
    line = json.dumps(row)
    for name, content in (("a.json", f"[{line}, {line}]"), ("b.jsonl", f"{line}\n{line}\n"), ("c.json", line)):
        (tmp_path / name).write_text(content)
        found = read_data(tmp_path / name, "questions")
        assert answers(found) == [(("old town", 4),)] * (1 if name == "c.json" else 2)
    (tmp_path / "d.json").write_text(json.dumps({"version": "1", "data": [row]}))
    assert answers(read_data(tmp_path / "d.json", "questions")) == [(("old town", 4),)]
    (tmp_path / "e.json").write_text(json.dumps([row, {**row, "paragraphs": [{**PARAGRAPH, "qas": [{}]}]}]))
    with pytest.raises(
        DataError, match=r"e\.json\[1\]\.paragraphs\[0\]\.qas\[0\]: no question .* \(lacks 'question'\)"
    ):
        read_data(tmp_path / "e.json", "questions")
