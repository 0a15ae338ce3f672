"""Which column is what: as named, as its name says, or asked; and what was read is told."""

import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgb_core.artifact import POINTER
from pgb_core.data import Columns, Data, TextRow, read_data, read_labels
from pgb_core.data.columns import LABELS, PAIRS, TEXTS
from pgb_core.data.labels import LabelReading
from pgb_core.data.rows import Named
from pgb_core.errors import DataError


def read(folder: Path, name: str, content: str, **columns: object) -> Data:
    """A file with this content."""
    (folder / name).write_bytes(content.encode())
    return read_data(folder / name, "texts", columns=Columns(**columns))  # type: ignore[arg-type]


def cells(data: Data) -> list[tuple[str, str | None, object]]:
    """Text, pair and label of every row."""
    return [(row.text, row.pair, row.label) for row in data.rows if isinstance(row, TextRow)]


@pytest.mark.parametrize(
    ("name", "content", "columns", "wanted", "note"),
    [
        (
            "sst.csv",
            "id,review,sentiment\n7,good,1\n",
            {},
            ("good", None, "1"),
            "sst.csv: 1 row, 3 columns: text from 'review', label from 'sentiment'; 'id' is not read",
        ),
        (
            "a.tsv",
            "query\tpassage\tlabel\nq\tp\t1\n",
            {},
            ("q", "p", "1"),
            "text from 'query', second text from 'passage'",
        ),
        ("a.csv", "Review ,LABEL\na,0\n", {}, ("a", None, "0"), "text from 'Review', label from 'LABEL'"),
        ("a.csv", "sentence,sentence1,sentence2\nx,a,b\n", {}, ("a", "b", None), "no label; 'sentence' is not read"),
        ("a.csv", "x,y,z\n1,b,c\n", {"text": "Y", "label": ("x",)}, ("b", None, "1"), "'z' is not read"),
        ("a.csv", "x,y\na,b\n", {"text": "x", "pair": "y"}, ("a", "b", None), "second text from 'y', no label"),
        ("a.csv", "text,label\na,0\n", {"text": "label", "label": ("text",)}, ("0", None, "a"), "text from 'label'"),
        ("a.csv", "score,label\n1,a\n", {"text": "label"}, ("a", None, "1"), "label from 'score'"),
        ("a.csv", "text,content,label\na,b,0\n", {"text": "content"}, ("b", None, "0"), "'text' is not read"),
        ("a.csv", "text,content,label,score\na, ,x, \n", {}, ("a", None, "x"), "'content', 'score' are not read"),
        ("a.csv", "r\u00e9sum\u00e9,y\na,b\n", {"text": "re\u0301sume\u0301"}, ("a", None, None), "'y' is not read"),
        ("a.csv", "Text,text\na,b\n", {"text": "Text"}, ("a", None, None), "text from 'Text'"),
        ("a.jsonl", '{"body": "a", "stars": 5}\n', {}, ("a", None, 5), "text from 'body', label from 'stars'"),
        ("a.jsonl", '{"text": "a", "text_pair": null}\n', {}, ("a", None, None), "'text_pair' is not read"),
        ("a.csv", ",text\n0,a\n", {}, ("a", None, None), "'(column 1 without a name)' is not read"),
        ("a.csv", ",,text\n0,1,a\n", {}, ("a", None, None), "'(column 2 without a name)' are not read"),
        ("a.csv", "\ufefftext,label\r\na,0\r\n", {}, ("a", None, "0"), "text from 'text'"),
        ("a.tsv", "text\tlabel\r\na\t0\r\n", {}, ("a", None, "0"), "label from 'label'"),
        *(
            ("cola.tsv", "gj04\t0\t*\tThe boat.\n", named, ("The boat.", None, "0"), "without a header, read as CoLA's")
            for named in ({}, {"text": "sentence", "label": ("label",)})
        ),
        *(
            ("a.csv", f"text,label\na,{cell}\n", {}, ("a", None, read_as), "label from 'label'")
            for cell, read_as in (
                ("\"['x', 'y']\"", ("x", "y")),
                ('"[""x""]"', ("x",)),
                ('"{""choices"": [""x"", ""y""]}"', ("x", "y")),
                ("[0]", (0,)),
                ("[x]", "[x]"),
                ("[]", ()),
                ("['1' '2']", ("1", "2")),
                ("\"['joy'\n 'love']\"", ("joy", "love")),
                ("['it''s']", "['it''s']"),
                ("\"['a' 'b', 'c']\"", "['a' 'b', 'c']"),
                ("\"['x', u'y']\"", ("x", "y")),
                ("\"['a' \"\"b's, c\"\" 'd \\' e']\"", ("a", "b's, c", "d ' e")),
                ("\"[\"\"'a' 'b'\"\", 'c']\"", ("'a' 'b'", "c")),
                ('"[[1], 2]"', "[[1], 2]"),
            )
        ),
        ("a.jsonl", '{"text": "a", "label": {"choices": ["x"]}}\n', {}, ("a", None, ("x",)), "label from 'label'"),
        ("a.csv", 'text\n"a\r\nb"\n', {}, ("a\r\nb", None, None), "1 row, 1 column"),
    ],
)
def test_a_role_is_found_or_named(
    name: str, content: str, columns: dict[str, object], wanted: object, note: str, tmp_path: Path
) -> None:
    """And told in one sentence."""
    data = read(tmp_path, name, content, **columns)
    assert cells(data) == [wanted]
    assert note in data.notes[0]


def annotated(*answers: str) -> str:
    """A file as Prodigy writes it, one row for each answer."""
    return "".join(json.dumps({"text": f"t{n}", "label": "a", "answer": word}) + "\n" for n, word in enumerate(answers))


def test_what_an_annotator_rejected_or_skipped_is_left_out(tmp_path: Path) -> None:
    """And told, with the count; the row of another is still named by its own line."""
    found = read(tmp_path, "p.jsonl", annotated("accept", "reject", "ignore", "accept"))
    assert [(row.texts, row.where) for row in found.rows] == [
        (("t0",), f"{tmp_path}/p.jsonl:1"),
        (("t3",), f"{tmp_path}/p.jsonl:4"),
    ]
    assert found.notes == (
        "p.jsonl: 2 rows, 2 columns, and 'answer', which leaves out 2 rows that the annotator rejected or skipped: "
        "text from 'text', label from 'label'",
    )


def test_labels_that_were_not_submitted_are_left_out(tmp_path: Path) -> None:
    """Of a row with several annotators those that were not; and rows that Argilla's first version has not validated."""
    answers = (["submitted"], ["discarded"], ["draft", "submitted"], None)
    labels = (["a"], ["b"], ["b", "c"], None)
    rows = [
        {"text": f"t{n}", "y.responses": label, "y.responses.status": words}
        for n, (label, words) in enumerate(zip(labels, answers, strict=True))
    ]
    found = read(tmp_path, "a.json", json.dumps(rows), label=("y.responses",))
    assert cells(found) == [("t0", None, ("a",)), ("t2", None, ("c",))]
    assert "'y.responses.status', which leaves out 2 rows" in found.notes[0]
    kept = read(tmp_path, "b.csv", "text,label,status\nt0,a,Validated\nt1,b,Discarded\nt2,,Default\n")
    assert cells(kept) == [("t0", None, "a")]


def test_questions_have_annotators_too(tmp_path: Path) -> None:
    """A rejected one is not read."""
    row = {"question": "q", "context": "a town", "answers": {"text": ["town"], "answer_start": [2]}}
    (tmp_path / "q.json").write_text(json.dumps([row | {"answer": "accept"}, row | {"answer": "reject"}]))
    found = read_data(tmp_path / "q.json", "questions")
    assert [row.where for row in found.rows] == [f"{tmp_path}/q.json[0]"]
    assert "'answer', which leaves out 1 row" in found.notes[0]


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("split", ("train", "test"), "'train', 'test'"),
        ("Set", ("Training", "Testing"), "'Training', 'Testing'"),
        ("is_valid", ("True", "False"), "'True', 'False'"),
        ("split", ("train", "train"), ""),
        ("genre", ("test", "novel"), ""),
        ("is_new", ("True", "False"), ""),
        ("is_test_positive", ("1", "0"), ""),
    ],
)
def test_rows_of_several_splits_in_one_file_are_told(
    column: str, values: tuple[str, str], told: str, tmp_path: Path
) -> None:
    """All are read, of texts and of questions."""
    table = f"text,label,{column}\n" + "".join(f"t,0,{value}\n" for value in values)
    rows = [{"question": "q", "context": "c", column: value} for value in values]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    for data in (read(tmp_path, "a.csv", table), read_data(tmp_path / "q.json", "questions")):
        assert len(data.rows) == 2
        assert [f"{column!r} has rows of {told}, and all are read" in warning for warning in data.warnings] == [
            True
        ] * bool(told)


def test_a_file_without_an_accepted_row_is_refused(tmp_path: Path) -> None:
    """With the column that says so."""
    with pytest.raises(DataError, match="no row was accepted, by the column 'answer'"):
        read(tmp_path, "p.jsonl", annotated("reject", "ignore"))


@pytest.mark.parametrize(
    ("answers", "columns"), [(("accept", "reject", "yes"), {}), (("accept", "reject"), {"label": ("answer",)})]
)
def test_another_column_called_answer_leaves_nothing_out(
    tmp_path: Path, answers: tuple[str, ...], columns: dict[str, object]
) -> None:
    """Where it has other words, or is itself the label."""
    assert len(read(tmp_path, "p.jsonl", annotated(*answers), **columns).rows) == len(answers)


@pytest.mark.parametrize(
    ("name", "content", "columns", "said"),
    [
        ("a.csv", "review,content,label\na,b,0\n", {}, "'review', 'content' could each be the text; say --text-column"),
        ("a.csv", "Text,text\na,b\n", {}, "'Text', 'text' could each be the text"),
        ("a.csv", "text,text_pair,query,passage\na,b,c,d\n", {}, "could each be the text; say --text-column, and"),
        ("a.csv", "text,label,score\na,0,1\n", {}, "'label', 'score' could each be the label; say --label-column"),
        (
            "a.csv",
            "text,label\na,0\n",
            {"text": "review"},
            "no column 'review'; --text-column takes one of text, label",
        ),
        ("a.csv", "Text,TEXT\na,0\n", {"text": "text"}, "2 columns are called 'text' but for case"),
        ("a.csv", "a,b\na,0\n", {"pair": "b"}, "--pair-column alone; name the first text too"),
        ("a.csv", "a,b\na,0\n", {"text": "a", "label": ("a",)}, "one column is named for two roles"),
        ("a.csv", "text,a\nx,0\n", {"label": ("a", "b"), "unlabelled": True}, "no column 'b'; --label-column takes"),
        ("a.csv", "text,text,label\na,b,0\n", {}, r"a\.csv:1: two columns are named 'text'"),
        ("a.csv", "text;label\na;0\n", {}, r"a\.csv:1: its columns are parted by ';'"),
        ("a.tsv", "text,label\na,0\n", {}, r"its columns are parted by commas"),
        ("a.csv", '"text";"label"\n"a";0\n', {}, r"a\.csv:1: its columns are parted by ';'"),
        ("a.csv", '\ufeff"text"\t"label"\n"a"\t0\n', {}, r"a\.csv:1: its columns are parted by tabs"),
        ("a.csv", "text,label\r\na,0,\r\n", {}, "3 columns where the header has 2; remove the separator at the end of"),
        ("a.csv", "text,label\na,b,\nc,0\n", {}, "3 columns where the header has 2; put quotes around a text"),
        ("a.tsv", "text\tlabel\n1\ta\t0\n", {}, r"a\.tsv:2: 3 columns .* again with row\.names = FALSE"),
        ("a.csv", "text,label\n,0\n,1\n", {}, "'text' is empty in every row"),
        ("a.csv", "Text,label\na,0\n", {"label": ("text",)}, "--label-column names 'Text', which is the text column"),
        ("a.csv", "premise,hypothesis,y\na,b,0\n", {"label": ("hypothesis",)}, "--label-column names 'hypothesis'"),
        ("a.csv", "text,label\na,0\n ,1\n", {}, r"a\.csv:3: the text 'text' is empty; fill it or remove the row"),
        ("a.csv", "text,label\n", {}, "no rows; the file is empty or has only a header"),
        ("a.csv", 'text,label\n"a,0\nb,1\n', {}, r"a\.csv:2: a quoted cell is never closed"),
        ("a.csv", 'text,label\n"a"b,0\n', {}, r"a\.csv:2: a quoted cell goes on after its quote"),
        ("a.csv", "text,label\ra,0\rb,1", {}, "its lines end in carriage returns alone"),
        ("a.tsv", "text\tlabel\na\tb\t0\n", {}, r"a\.tsv:2: 3 columns where the header has 2; write a blank for a tab"),
        ("a.csv", "text,label\na, b,0\n", {}, r"a\.csv:2: 3 columns where the header has 2; put quotes around a text"),
        ("a.csv", 'text,label\na,0\nb "c, d",0\n', {}, r"a\.csv:3: 3 columns where the header has 2; close its quotes"),
        ("a.csv", "text,label\na\0,1\n", {}, r"a\.csv:2: holds a NUL character"),
        ("a.jsonl", '{"text": null, "label": 0}\n{"text": "a"}\n', {}, r"a\.jsonl:1: the text 'text' is null; fill it"),
        ("a.jsonl", '{"text": 3}\n', {}, r"a\.jsonl:1: 'text' is a number, not a text"),
        ("a.jsonl", '{"text": ["a"]}\n', {}, r"a\.jsonl:1: 'text' is a list, not a text"),
        ("a.jsonl", '{"text": "a", "label": {}}\n', {}, "the label holds an object"),
        ("a.jsonl", '{"text": "a", "label": [null]}\n', {}, "the label holds null"),
        ("a.jsonl", '{"text": "a", "text": "b"}\n', {}, "the key 'text' stands twice in one object"),
        ("a.jsonl", '{"text": "\\ud800"}\n', {}, "'text' holds half of a surrogate pair"),
        ("a.jsonl", '{"text": ' + "[" * 100_000, {}, "it is nested too deeply"),
        ("a.jsonl", '{"text": "a", "n": ' + "1" * 5000 + "}", {}, "a number has thousands of digits"),
        ("a.json", '[{"text": "a"}, 3]', {}, r"a\.json\[1\]: a number, not a JSON object; write each row as one"),
        ("a.json", '[{"text": "a"},\n {"text": ]', {}, r"a\.json:2: not valid JSON"),
        ("a.json", '{"text": ["a"], "label": [0, 1]}', {}, "its lists are not of one length"),
        ("a.json", '{"columns": ["text"], "data": [["a", 1]]}', {}, r"data\[0\]: not a list of 1 cell"),
        ("a.csv", "text,label\nnan,0\n", {}, r"a\.csv:2: the text 'text' is the one word 'nan', which tools write for"),
        ("a.csv", "text,label\nNone,0\n", {}, "is the one word 'None'"),
        ("a.csv", "text,label\nNULL,0\n", {}, "is the one word 'NULL'"),
        ("a.csv", "text,label\nNA,0\n", {}, "is the one word 'NA', which tools write for an empty cell"),
        ("a.csv", "text,label\n #NAME? ,0\n", {}, r"the one word '#NAME\?', which spreadsheets write where a"),
        ("a.tsv", "text\tlabel\n\\N\t0\n", {}, "is the one word"),
        ("a.tsv", 'text\tlabel\n"a"\t0\n"b c"\t1\n', {}, "every 'text' is in quotes, which are text in .tsv; remove"),
        ("a.tsv", '"text"\t"label"\n"a"\t"0"\n', {}, "the names of the columns are in quotes"),
        ("a.csv", 'label, "text"\n0, "a"\n1, "b"\n', {}, "in quotes"),
        ("a.csv", 'label,text\n0, "a"\n1, "b"\n', {}, "every 'text' is in quotes behind a blank"),
        ("a.csv", "label,text\n0,'a'\n1,'b c'\n", {}, "every 'text' is in single quotes, which are text"),
        ("a.tsv", "label\ttext\n0\t'a'\n1\t'b c'\n", {}, "every 'text' is in quotes, which are text in .tsv"),
        (
            "a.json",
            '[{"data": {"text": "a"}, "id": 1}]',
            {},
            "call it 'text'; if it is within 'data', which holds objects",
        ),
        (
            "a.json",
            '{"examples": [{"content": "a"}]}',
            {},
            "if it is within 'examples', which holds objects, write it as a key of the row",
        ),
        ("a.csv", "sep=,\ntext,label\na,0\n", {}, "'sep=' is a note for a spreadsheet"),
        ("a.csv", "a warm funny film,1\na dull one,0\n", {}, "reads as a row, not as the names of columns"),
        (
            "a.csv",
            "How would you describe your overall experience?,Rating\nit was good,5\n",
            {},
            "write a first line .*, or, if these are the names, name the text's with --text-column",
        ),
        ("a.csv", "text,a,b\nx,0,1\n", {"label": ("a,b",)}, "write --label-column once for each column"),
        ("a.txt", "__label__1 a warm film\n__label__0 a dull one\n", {}, "fastText's mark of a label"),
        ("a.json", '[{"text": NaN}, {"text": "a"}]', {}, r"a\.json\[0\]: the text 'text' is NaN, an empty cell"),
        ("a.json", '{"data": [{"paragraphs": []}]}', {}, "name a checkpoint for questions$"),
        (
            "a.json",
            '{"train": [["a", 0]], "oos_val": [["b", 1], ["c", 0]]}',
            {},
            r"its keys are splits \(train, oos_val\)",
        ),
        ("a.json", '{"train": [["a", 0]], "test": [["b", 1]]}', {}, "write the rows of each to its own file"),
        ("a.json", '{"columns": ["text", "text"], "data": [["a", "b"]]}', {}, "two columns have one name"),
        ("a.jsonl", '{"text": a}\n{"text": "b"}\n', {}, r"a\.jsonl:1: not a JSON object a line"),
        ("a.json", '[["a", 0]]', {}, 'a list, not a JSON object; write each row as one, such as {"text"'),
        (
            "a.jsonl",
            '{"sentence1": "a", "sentence2": "b"}\n{"sentence1": "c"}\n',
            {},
            r"a\.jsonl:2: no 'sentence2', which other rows have",
        ),
        ("a.jsonl", '{"text": "a"}\n{"text": "a", "text_pair": "b"}\n', {}, r"a\.jsonl:1: no 'text_pair'"),
    ],
)
def test_what_is_unclear_or_broken_is_refused(
    name: str, content: str, columns: dict[str, object], said: str, tmp_path: Path
) -> None:
    """Before any row is used, with the option that settles it."""
    with pytest.raises(DataError, match=said):
        read(tmp_path, name, content, **columns)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1\0", "is a Parquet file; end its name in .parquet"),
        ("text\na\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"PK\x03\x04", "is a ZIP or Excel file"),
        (b"\x1f\x8b", "is a gzip file; unpack it"),
        (POINTER, "is a pointer of Git LFS, not the file itself; fetch that with git lfs pull"),
        (b"%PDF-1.7\n", "is a PDF file; write its texts"),
        (b"{\\rtf1 x}", "is an RTF file; save it as plain text"),
        (b"\n<!DOCTYPE html>\n<html>", "is a web page; download the file itself"),
        (b"<HTML>\n", "is a web page; download the file itself"),
        (b"text\n\xe9\n", r"a\.csv:2: not UTF-8 at byte 5"),
    ],
)
def test_what_is_not_text_is_called_what_it_is(content: bytes, said: str, tmp_path: Path) -> None:
    """By its first bytes, whatever its name says."""
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_data(tmp_path / "a.csv", "texts")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.xz", "a.zip", "a.parquet", "a.txt", "a.json"])
def test_a_file_that_git_lfs_did_not_fetch_is_called_that(name: str, tmp_path: Path) -> None:
    """Also where another kind of file is expected, and where its lines would be texts."""
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(DataError, match=r"a pointer of Git LFS.*git lfs pull"):
        read_data(tmp_path / name, "texts")


@pytest.mark.parametrize("again", ["text,pair", "\ufefftext,pair"])
def test_a_header_that_stands_again_among_the_rows_is_refused(again: str, tmp_path: Path) -> None:
    """As in files that were joined; a first row of CoLA's files, which have no header, may stand there again."""
    with pytest.raises(DataError, match=r"a\.csv:3: the header stands here again.*remove this line"):
        read(tmp_path, "a.csv", f"text,pair\na,b\n{again}\nc,d\n", text="text")
    assert len(read(tmp_path, "a.tsv", "gj04\t1\t\tone film\n" * 2).rows) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("So good.\t1\nSo bad.\t0\n", "every line has as many tabs, as a row"),
        ("Quality\t#1 ID\t#1 String\n1\t7\tso good\n0\t8\tso bad\n", "every line has as many tabs"),
        ("i feel low;sad\ni feel up; really;joy\nI cry;sad\nI sing;joy\n", "every line has ';', with one of"),
        ("pos|so good\nneg|so bad\npos|fine\npos|very | fine\n", "'|', with one of"),
        ("good, really,1\nbad,0\nfine,1\ndull,0\n", "',', with one of"),
        ("good, really,pos\nbad, or,neg\nfine, so,pos\ndull, so,neg\n", "',', with one of"),
        ("so good, 1\nso bad, 0\nso fine, 1\nso dull, 0\n", "',', with one of"),
    ],
)
def test_a_text_file_whose_lines_have_cells_is_refused(content: str, said: str, tmp_path: Path) -> None:
    """Its labels would become a part of the texts."""
    with pytest.raises(DataError) as caught:
        read(tmp_path, "a.txt", content)
    assert said in str(caught.value)
    assert "write a table as .csv or .tsv" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "one\ttab in the only line\n",
        "a, b\nc, d\n",
        "well, so\nso, well\nnot so\nso, so\n",
        "a\tb\nc\n",
        "x; y z\nx; z y\n",
        "Hi, a card\nHello, a bill\nHi, two bills\nHello, please help\n",
        "12 Main St, Springfield, IL\n4 Oak Ave, Chicago, IL\n9 Elm St, Boston, MA\n1 Pine Rd, Salem, MA\n",
    ],
)
def test_a_text_file_with_marks_in_its_texts_is_read(content: str, tmp_path: Path) -> None:
    """Each line is a text."""
    assert [text for text, _, _ in cells(read(tmp_path, "a.txt", content))] == content.splitlines()


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory, a name too long, a NUL."""
    for path, said in ((tmp_path, "is a directory"), ("a" * 5000, "not a path|no such file"), ("a\0.csv", "no such")):
        with pytest.raises(DataError, match=said):
            read_data(path, "texts")


def test_a_long_text_that_is_not_read_is_a_warning(tmp_path: Path) -> None:
    """Unless the rows have a pair, the column holds words only, however long, or most of its texts are short."""
    long = "a text of very many words that could well be the second one of a pair"
    (warning,) = read(tmp_path, "a.csv", f"text,answer,label\nq,{long},0\n").warnings
    assert warning.startswith("a.csv: 'answer' holds long texts and is not read; if the model takes pairs")
    assert not read(tmp_path, "a.csv", f"sentence1,sentence2,parse,label\na,b,{long},0\n").warnings
    assert not read(tmp_path, "a.csv", "text,genre,label\nq,news,0\n").warnings
    assert not read(tmp_path, "a.csv", f"text,link,label\nq,{long.replace(' ', '_')},0\n").warnings
    assert not read(tmp_path, "a.csv", f"text,note,label\nq,{long},0\nq,,0\nq,so,0\n").warnings


def test_quotes_of_a_tsv_that_look_like_those_of_a_csv_are_a_warning(tmp_path: Path) -> None:
    """They are read as text; GLUE's own quotes are not doubled."""
    data = read(tmp_path, "a.tsv", 'text\tlabel\nfine\t0\n"an ""odd"" one"\t1\n')
    assert [text for text, *_ in cells(data)] == ["fine", '"an ""odd"" one"']
    assert data.warnings[0].startswith("a.tsv:3: a cell is in quotes that hold doubled ones")
    assert not read(tmp_path, "a.tsv", 'text\tlabel\n"fine" he said, "really"\t0\n').warnings
    assert not read(tmp_path, "a.tsv", 'text\tlabel\n"fine, good"\t0\n"so, so"\t0\nbad, sad\t1\n').warnings
    (warning,) = read(tmp_path, "a.tsv", 'text\tlabel\n"fine, good"\t0\nbad\t1\n"so, so"\t0\n').warnings
    assert warning.startswith("a.tsv: every cell with a comma is in quotes; in .tsv quotes are part of the text")
    assert not read(tmp_path, "a.csv", 'text,label\n"an ""odd"" one",1\n').warnings


def test_label_columns_may_lack_where_no_label_is_needed(tmp_path: Path) -> None:
    """As in a file for calibration; several are read as flags."""
    (row,) = read(tmp_path, "a.csv", "text,b\nx,0\n", label=("a",), unlabelled=True).rows
    assert isinstance(row, TextRow)
    assert row.label is None
    data = read(tmp_path, "a.csv", "text,b,a\nx,0,1\n", label=("a", "b"))
    texts = [row for row in data.rows if isinstance(row, TextRow)]
    assert read_labels(texts, ("a", "b"), "multi_label_classification").targets == [(1.0, 0.0)]


@pytest.mark.parametrize(
    "content", [",,\nid,text,label\n1,a,0\n,,\n2,b,1\n , ,\n,,\n", "id,text,label\n1,a,0\n,\n2,b,1\n"]
)
def test_a_blank_row_of_a_spreadsheet_is_skipped(content: str, tmp_path: Path) -> None:
    """Before the header, between rows and behind them; it is written as separators alone."""
    for ending, mark in ((".csv", ","), (".tsv", "\t")):
        found = read(tmp_path, f"a{ending}", content.replace(",", mark))
        assert [row.text for row in found.rows if isinstance(row, TextRow)] == ["a", "b"]
        assert found.rows[1].where == f"{tmp_path / f'a{ending}'}:{content[: content.index('2,b')].count(chr(10)) + 1}"


def test_an_empty_text_in_quotes_is_no_blank_row(tmp_path: Path) -> None:
    """A table of one column has no separators, so it was written as a row."""
    with pytest.raises(DataError, match=r"a\.csv:3: the text 'text' is empty; fill it or remove the row"):
        read(tmp_path, "a.csv", 'text\na\n""\nb\n')
    assert len(read(tmp_path, "a.csv", "text\na\n\nb\n").rows) == 2


def test_a_row_whose_label_columns_are_all_empty_has_no_label(tmp_path: Path) -> None:
    """Some rows, or all; where only some of the columns are empty the row is refused, as one that was not finished."""

    def read_flags(rows: str) -> LabelReading:
        data = read(tmp_path, "a.csv", f"text,a,b\n{rows}", label=("a", "b"), unlabelled=True)
        texts = [row for row in data.rows if isinstance(row, TextRow)]
        return read_labels(texts, ("a", "b"), "multi_label_classification")

    assert read_flags("x,,\ny, ,\n").kind == "none"
    found = read_flags("x,,\ny,0,1\n")
    assert found.targets == [None, (0.0, 1.0)]
    assert found.sentence.endswith("; 1 row has no label")
    with pytest.raises(DataError, match=r"a\.csv:2: column 'b' has null; a label column holds 0 or 1"):
        read_flags("x,0,\ny,0,1\n")


def table(good: int, bad: list[str], mark: str) -> str:
    """A table with these rows behind the first ten of two cells."""
    rows = [f"a {n}{mark}0" for n in range(good)]
    return "".join(f"{row}\n" for row in (f"text{mark}label", *rows[:10], *bad, *rows[10:]))


@pytest.mark.parametrize(("name", "mark"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_very_few_rows_of_another_width_are_left_out(name: str, mark: str, tmp_path: Path) -> None:
    """As GLUE's QQP has them; the others keep their places. Above one in a thousand the first is named, as ever."""
    found = read(tmp_path, name, table(1999, ["Was it real?"], mark))
    assert [row.texts for row in found.rows] == [(f"a {n}",) for n in range(1999)]
    assert found.rows[10].where == f"{tmp_path / name}:13"
    said = "1 of 2,000 rows is left out, as it has more or fewer cells than the header; the first is at line 12"
    assert found.warnings == (f"{name}: {said}",)
    found = read(tmp_path, name, table(1998, ["b", f"c{mark}1{mark}"], mark))
    assert found.warnings[0].startswith(f"{name}: 2 of 2,000 rows are left out, as they have")
    for good, bad in ((998, ["b"]), (1997, ["b"] * 2), (5000, ["b"] * 6), (5, ["b"])):
        content = table(good, bad, mark) + "\n" * 3000 * (good == 998)
        with pytest.raises(DataError, match=rf"{name}:{min(good, 10) + 2}: 1 column where the header has 2"):
            read(tmp_path, name, content)


def test_a_quote_that_swallows_rows_is_refused_by_their_lines(tmp_path: Path) -> None:
    """One row of many lines is not few."""
    with pytest.raises(DataError, match=r"a\.csv:12: 1 column where the header has 2"):
        read(tmp_path, "a.csv", table(4000, ['"b', *["c"] * 9, 'd"'], ","))


class Hub:
    """What `datasets` gives: rows with features."""

    def __init__(self, features: dict[str, object], *rows: dict[str, object]) -> None:
        self.rows, self.features = rows, features

    def __iter__(self) -> Iterator[dict[str, object]]:
        return iter(self.rows)


def test_a_hub_label_knows_its_name_and_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """-1 is none; lists of labels too; columns may be named."""
    mood = types.SimpleNamespace(names=["neg", "pos"])
    features = {"mood": mood, "many": types.SimpleNamespace(feature=mood)}
    rows = [{"words": "a", "mood": 1, "many": [0, 1]}, {"words": "b", "mood": -1, "many": []}]
    hub = types.SimpleNamespace(load_dataset=lambda *a, **k: Hub(features, *rows))
    monkeypatch.setitem(sys.modules, "datasets", hub)
    found = read_data("owner/name", "texts", columns=Columns("words", label=("mood",)))
    assert cells(found) == [("a", None, Named("pos", 1)), ("b", None, None)]
    found = read_data("owner/name", "texts", columns=Columns("words", label=("many",)))
    assert [label for *_, label in cells(found)] == [(Named("neg", 0), Named("pos", 1)), ()]
    assert "'mood' is not read" in found.notes[0]
    assert json.dumps(found.notes)


def test_the_page_on_data_lists_the_names_by_which_columns_are_known() -> None:
    """All of them, in the order of the code."""
    page = (Path(__file__).parents[2] / "docs/data.md").read_text("utf-8")
    listed = [
        re.search(rf"^\| {role} \| (.*) \|$", page, re.MULTILINE) for role in ("pair of texts", "single text", "label")
    ]
    pairs, texts, labels = (re.findall(r"`([^`]+)`", found[1]) for found in listed if found)
    assert list(zip(pairs[::2], pairs[1::2], strict=True)) == list(PAIRS)
    assert (tuple(texts), tuple(labels)) == (TEXTS, LABELS)
