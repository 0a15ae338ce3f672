"""Rows in JSON in all the ways that tools write them: the same rows, and the same labels."""

import json
from pathlib import Path

import pytest

from pgb_core.data import Columns, Data, TextRow, read_data, read_labels
from pgb_core.data.rows import Named
from pgb_core.errors import DataError

ROWS = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
LABEL = {"feature_idx": 1, "name": "label", "type": {"names": ["neg", "pos"], "_type": "ClassLabel"}}


def read(folder: Path, content: object, name: str = "a.json") -> Data:
    """A file with this JSON, or this text."""
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_data(folder / name, "texts")


def texts(data: Data) -> list[TextRow]:
    """Its rows."""
    return [row for row in data.rows if isinstance(row, TextRow)]


def page(rows: list[dict[str, object]], **more: object) -> dict[str, object]:
    """As the datasets server answers."""
    return {"features": [LABEL], "rows": [{"row_idx": n, "row": row} for n, row in enumerate(rows)], **more}


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        json.dumps(ROWS, indent=2),
        "".join(json.dumps(row) + "\n" for row in ROWS),
        {"rows": ROWS},
        {"data": ROWS},
        json.dumps({"schema": {"fields": []}, "data": ROWS}, indent=4),
        {"text": ["good", "bad"], "label": [1, 0]},
        {"text": {"0": "good", "1": "bad"}, "label": {"0": 1, "1": 0}},
        {"0": ROWS[0], "1": ROWS[1]},
        {"columns": ["text", "label"], "index": [0, 1], "data": [["good", 1], ["bad", 0]]},
    ],
)
def test_rows_are_read_whatever_stands_around_them(content: object, tmp_path: Path) -> None:
    """A list, lines, pandas' five ways, a list under a name."""
    data = read(tmp_path, content)
    assert [(row.text, row.label) for row in texts(data)] == [("good", 1), ("bad", 0)]
    assert data.notes == ("a.json: 2 rows, 2 columns: text from 'text', label from 'label'",)


def test_one_object_is_one_row(tmp_path: Path) -> None:
    """In one line or in many; in JSON lines its lists are values of a row."""
    assert [row.text for row in texts(read(tmp_path, ROWS[0]))] == ["good"]
    assert [row.text for row in texts(read(tmp_path, json.dumps(ROWS[0], indent=1), "a.jsonl"))] == ["good"]
    with pytest.raises(DataError, match="'text' is a list, not a text"):
        read(tmp_path, {"text": ["a"], "label": [0]}, "a.jsonl")


def test_a_page_of_the_datasets_server_knows_its_labels_and_its_size(tmp_path: Path) -> None:
    """Names come with the numbers; that it is a part is told; a cell cut short is refused."""
    data = read(tmp_path, page(ROWS, num_rows_total=67_349))
    assert [row.label for row in texts(data)] == [Named("pos", 1), Named("neg", 0)]
    assert "2 rows, 2 columns, of 67,349 rows that the dataset has: text from 'text'" in data.notes[0]
    assert read_labels(texts(data), ("pos", "neg"), None).targets == [0, 1]
    assert "that the dataset has" not in read(tmp_path, page(ROWS, num_rows_total=2)).notes[0]
    others = page(
        [ROWS[0] | {"label": n} for n in (-2, -1, 2)]
    )  # -1 alone is none; the dataset has no name for the rest
    assert [row.label for row in texts(read(tmp_path, others))] == [-2, None, 2]
    (tmp_path / "a.json").write_text(json.dumps(page(ROWS)))
    with pytest.raises(DataError, match="'label' is a label, not a text"):
        read_data(tmp_path / "a.json", "texts", columns=Columns("label"))
    cut = {"features": [], "rows": [{"row": ROWS[0], "truncated_cells": ["text"]}]}
    with pytest.raises(
        DataError, match=r"a\.json: rows\[0\]: the page cut text short; take the dataset's Parquet file"
    ):
        read(tmp_path, cut)


@pytest.mark.parametrize(
    ("written", "targets", "said"),
    [
        (["1.0", "0.0"], [1, 0], "labels are ids 0..1 (written with 1.0 for 1): 0 is neg (1), 1 is pos (1)"),
        ([1.0, 0.0], [1, 0], "labels are ids 0..1 (written with 1.0 for 1): 0 is neg (1), 1 is pos (1)"),
        ([1.0, float("nan")], [1, None], "(written with 1.0 for 1): 0 is neg (0), 1 is pos (1); 1 row has no label"),
        ([True, False], [1, 0], "labels are ids 0..1 (written with true for 1, false for 0): 0 is neg (1)"),
        (["True", "False"], [1, 0], "labels are ids 0..1 (written with true for 1, false for 0): 0 is neg (1)"),
        ([1, 0], [1, 0], "labels are ids 0..1: 0 is neg (1), 1 is pos (1)"),
        (["1", None], [1, None], "labels are ids 0..1: 0 is neg (0), 1 is pos (1); 1 row has no label"),
        (["pos", ""], [1, None], "labels are names: neg (0), pos (1); 1 row has no label"),
    ],
)
def test_labels_as_pandas_writes_them_are_read_and_told(
    written: list[object], targets: list[object], said: str, tmp_path: Path
) -> None:
    """Floats beside empty cells, truth values, and empty cells that are no label."""
    data = read(tmp_path, [{"text": "a", "label": label} for label in written])
    found = read_labels(texts(data), ("neg", "pos"), None)
    assert found.targets == targets
    assert said in found.sentence


def test_a_number_with_a_point_may_be_a_name(tmp_path: Path) -> None:
    """Stars of 1.0 to 5.0; and where it may be two things it is asked."""
    data = read(tmp_path, [{"text": "a", "label": 5.0}, {"text": "b", "label": "1.0"}])
    found = read_labels(texts(data), ("1", "2", "3", "4", "5"), None)
    assert (found.kind, found.targets) == ("names", [4, 0])
    assert found.sentence.startswith("labels are names (written with 5.0 for 5): 1 (1)")
    data = read(tmp_path, [{"text": "a", "label": 1.0}])
    with pytest.raises(DataError, match=r"as names 1 is label 0 .* Say --labels names or --labels ids"):
        read_labels(texts(data), ("1", "2", "3"), None)


def test_columns_may_be_named_in_every_form(tmp_path: Path) -> None:
    """As of a table."""
    (tmp_path / "a.json").write_text(json.dumps({"x": {"0": "good"}, "y": {"0": "pos"}}))
    data = read_data(tmp_path / "a.json", "texts", columns=Columns("x", label=("y",)))
    assert [(row.text, row.label) for row in texts(data)] == [("good", "pos")]
