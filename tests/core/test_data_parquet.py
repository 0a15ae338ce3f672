"""Parquet files as pandas and `datasets` make them; without pyarrow the message names the extra."""

import json
import sys
import tracemalloc
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pgb_core.data import QuestionRow, TextRow, parquet, read_data, read_labels
from pgb_core.data.rows import Named
from pgb_core.errors import DataError

CONTEXT = "the old town sang in the town hall"


def write(path: Path, rows: list[dict[str, Any]], features: dict[str, object] | None = None, **how: Any) -> Path:
    """A Parquet file of these rows, with what `datasets` says of their columns."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    writer = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist(rows)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    writer.write_table(table, path, **how)
    return path


def texts(path: Path) -> list[TextRow]:
    """Its rows."""
    return [row for row in read_data(path, "texts").rows if isinstance(row, TextRow)]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For texts and questions."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for kind in ("texts", "questions"):
        with pytest.raises(DataError, match=r"a\.parquet: is a Parquet file, .*pip install '\.\[data\]'"):
            read_data(tmp_path / "a.parquet", kind)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_rows_are_read_by_column(compression: str, tmp_path: Path) -> None:
    """Over more than one batch, with the row's number as its place."""
    rows = [{"idx": n, "sentence": f"text {n}", "label": float(n % 2)} for n in range(600)]
    path = write(tmp_path / "a.parquet", rows, compression=compression, row_group_size=250)
    data = read_data(path, "texts")
    assert [(row.text, row.label) for row in texts(path)] == [(f"text {n}", float(n % 2)) for n in range(600)]
    assert data.rows[599].where == f"{path}[599]"
    assert data.notes == (
        "a.parquet: 600 rows, 3 columns: text from 'sentence', label from 'label'; 'idx' is not read",
    )


def test_labels_know_the_names_that_the_file_says(tmp_path: Path) -> None:
    """`datasets` writes them beside the columns; -1 and null are no label."""
    label = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    rows: list[dict[str, Any]] = [{"text": "a", "label": 1}, {"text": "b", "label": -1}, {"text": "c", "label": None}]
    path = write(tmp_path / "a.parquet", rows, {"label": label, "text": {"dtype": "string", "_type": "Value"}})
    assert [row.label for row in texts(path)] == [Named("pos", 1), None, None]
    assert read_labels(texts(path), ("pos", "neg"), None).targets == [0, None, None]
    many = write(tmp_path / "b.parquet", [{"text": "a", "labels": [0, 1]}], {"labels": {"feature": label}})
    assert [row.label for row in texts(many)] == [(Named("neg", 0), Named("pos", 1))]
    odd = write(tmp_path / "c.parquet", [{"text": "a", "label": 1}], {"label": "ClassLabel"})
    assert [row.label for row in texts(odd)] == [1]


def test_empty_cells_are_empty(tmp_path: Path) -> None:
    """A text that is null or NaN is refused; a label that is one is none."""
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": float("nan")}]
    found = read_labels(texts(write(tmp_path / "a.parquet", rows)), ("neg", "pos"), None)
    assert found.targets == [1, None]
    assert found.sentence.endswith("1 row has no label")
    for value in (None, ""):
        path = write(tmp_path / "b.parquet", [{"text": "a"}, {"text": value}])
        with pytest.raises(DataError, match=r"b\.parquet\[1\]: the text 'text' is (null|empty); fill it or remove"):
            read_data(path, "texts")
    path = write(tmp_path / "c.parquet", [{"sentence": "a", "text": float("nan")}])
    assert [row.text for row in texts(path)] == ["a"]


def test_pandas_writes_what_is_read(tmp_path: Path) -> None:
    """Its floats beside empty cells, its truth values, its categories."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="the extra data is not installed")
    frame = pandas.DataFrame({"review": ["a", "b", "c"], "label": [1, None, 0]}, index=[3, 5, 7])
    for name, to in (("a.parquet", frame.to_parquet), ("a.json", frame.to_json)):
        to(tmp_path / name)
        assert read_labels(texts(tmp_path / name), ("neg", "pos"), None).targets == [1, None, 0]
    frame.to_csv(tmp_path / "a.csv.gz")
    assert read_labels(texts(tmp_path / "a.csv.gz"), ("neg", "pos"), None).targets == [1, None, 0]
    for orient in ("records", "split", "index", "columns", "table"):
        frame.to_json(tmp_path / "b.json", orient=orient)
        assert read_labels(texts(tmp_path / "b.json"), ("neg", "pos"), None).targets == [1, None, 0]
    frame = pandas.DataFrame({"text": ["a", "b"], "label": pandas.Categorical(["pos", "neg"])})
    frame.to_parquet(tmp_path / "c.parquet")
    assert read_labels(texts(tmp_path / "c.parquet"), ("neg", "pos"), None).targets == [1, 0]
    frame = pandas.DataFrame({"text": ["a", "b"], "label": [True, False]})
    for name, to in (("d.parquet", frame.to_parquet), ("d.csv", frame.to_csv)):
        to(tmp_path / name)
        assert read_labels(texts(tmp_path / name), ("neg", "pos"), None).targets == [1, 0]


def test_questions_are_rows(tmp_path: Path) -> None:
    """As the hub has SQuAD; an answer that is not where it is said to be is found again and told."""

    def row(text: list[str], start: list[int]) -> dict[str, Any]:
        answers = {"text": text, "answer_start": start}
        return {"id": "1", "title": "t", "context": CONTEXT, "question": "what sang", "answers": answers}

    path = write(tmp_path / "q.parquet", [row(["old town"], [4]), row([], []), row(["sang"], [12])])
    data = read_data(path, "questions")
    found = [question.answers for question in data.rows if isinstance(question, QuestionRow)]
    assert found == [(("old town", 4),), (), (("sang", 13),)]
    assert data.notes[0] == "q.parquet: 3 questions: 2 answered, 1 unanswerable"
    assert "1 answer not at the character that the file says" in data.notes[1]


def test_a_broken_or_too_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it unpacks to is known before it is unpacked, and counted again while it is."""
    path = write(tmp_path / "a.parquet", [{"text": "word " * 1000}] * 2000)
    whole = path.read_bytes()
    for broken in (b"PAR1", whole[:-20], b"text,label\na,0\n", b""):
        (tmp_path / "b.parquet").write_bytes(broken)
        with pytest.raises(DataError, match=r"b\.parquet: is not a whole Parquet file"):
            read_data(tmp_path / "b.parquet", "texts")
    monkeypatch.setattr(parquet, "LARGEST", 1 << 20)  # the file says less: its texts are one
    with pytest.raises(DataError, match="unpacks to more than 20,000,000 rows or 1 MiB"):
        read_data(path, "texts")
    monkeypatch.setattr(parquet, "MOST_ROWS", 10)
    with pytest.raises(DataError, match="unpacks to more than 10 rows"):
        read_data(path, "texts")


SHARED = "a" * 200_000


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": SHARED}] * 256,
        [{"text": "a", "labels": [SHARED] * 256}],
        [{"text": {"a": [{"b": SHARED}] * 16}}] * 16,
        [{"text": "a", "labels": [[SHARED] * 64]}, {"text": "b", "labels": [None, [], [None, *[SHARED] * 192]]}],
    ],
    ids=["rows", "a list", "objects", "lists in lists"],
)
def test_a_text_that_many_share_is_refused_before_it_is_copied(
    rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 MB that the file holds in a few kilobytes: neither Arrow nor Python has more of them than are taken."""
    path = write(tmp_path / "a.parquet", rows, compression="zstd")
    assert path.stat().st_size < 100_000
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    monkeypatch.setattr(parquet, "LARGEST", 1 << 25)
    usual, pool = pyarrow.default_memory_pool(), pyarrow.proxy_memory_pool(pyarrow.system_memory_pool())
    pyarrow.set_memory_pool(pool)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="unpacks to more than 20,000,000 rows or 32 MiB"):
            read_data(path, "texts")
        assert pool.max_memory() < 1 << 24
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()
        pyarrow.set_memory_pool(usual)


@pytest.mark.parametrize(("kind", "unit"), [("timestamp", "ms"), ("timestamp", "us"), ("duration", "ms")])
def test_a_time_beyond_python_s_is_refused(kind: str, unit: str, tmp_path: Path) -> None:
    """With the column that holds it, whatever it is."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    writer = pytest.importorskip("pyarrow.parquet")
    when = pyarrow.array([2**63 - 1], pyarrow.int64()).cast(getattr(pyarrow, kind)(unit))
    writer.write_table(pyarrow.table({"text": ["a"], "when": when}), tmp_path / "a.parquet")
    said = rf"a\.parquet: the column 'when' is of type '{kind}\[{unit}\]' and holds a value that Python has no word for"
    with pytest.raises(DataError, match=said):
        read_data(tmp_path / "a.parquet", "texts")


@pytest.mark.parametrize("where", ["alone", "in a list", "in an object"])
@pytest.mark.parametrize("zone", [None, "Mars/Olympus_Mons"])
def test_a_time_that_python_cannot_say_names_its_column(where: str, zone: str | None, tmp_path: Path) -> None:
    """Single nanoseconds (which pandas has, where it is installed), and a time zone that nobody knows."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    writer = pytest.importorskip("pyarrow.parquet")
    if zone is None and find_spec("pandas"):
        pytest.skip("pandas has nanoseconds")
    kind = pyarrow.timestamp("us" if zone else "ns", zone)
    when = pyarrow.array([1, 2], pyarrow.int64()).cast(kind)
    if where == "in a list":
        when = pyarrow.ListArray.from_arrays([0, 1, 2], when)
    elif where == "in an object":
        when = pyarrow.StructArray.from_arrays([when], ["at"])
    writer.write_table(pyarrow.table({"text": ["a", "b"], "when": when}), tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"a\.parquet: the column 'when' is of type '.*' and holds .*; write it as a text"
    ):
        read_data(tmp_path / "a.parquet", "texts")


def test_a_text_that_is_no_utf_8_names_its_column(tmp_path: Path) -> None:
    """Which the file may say that it is."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    writer = pytest.importorskip("pyarrow.parquet")
    odd = pyarrow.array([b"\xff\xfe"]).view(pyarrow.string())
    writer.write_table(pyarrow.table({"text": ["a"], "note": odd}), tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"a\.parquet: the column 'note' holds a text that is not UTF-8; write it again"
    ):
        read_data(tmp_path / "a.parquet", "texts")


def test_a_text_that_many_maps_share_counts_for_each() -> None:
    """In the part of a file that is looked at."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    shared = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 256, pyarrow.int32()), ["a" * 10_000])
    maps = pyarrow.MapArray.from_arrays([0, 1, 2, 256], [str(n) for n in range(256)], shared)
    assert parquet._unpacked(maps) > 2_560_000
    assert 20_000 < parquet._unpacked(maps.slice(0, 2)) < 50_000


def test_columns_of_every_kind_may_stand_beside_the_text(tmp_path: Path) -> None:
    """They are not read."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    writer = pytest.importorskip("pyarrow.parquet")
    others = {
        "decimal": pyarrow.array([Decimal("1.50"), None], pyarrow.decimal128(9, 2)),
        "large decimal": pyarrow.array([Decimal("1.50"), None], pyarrow.decimal256(60, 2)),
        "date": pyarrow.array([1, None], pyarrow.date32()),
        "time": pyarrow.array([1, None], pyarrow.time64("us")),
        "duration": pyarrow.array([1, None], pyarrow.duration("us")),
        "zoned": pyarrow.array([1, None], pyarrow.timestamp("us", "Europe/Berlin")),
        "map": pyarrow.array([[("a", 1)], None], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        "categories": pyarrow.array(["a", None]).dictionary_encode(),
        "numbered": pyarrow.array([7, None]).dictionary_encode(),
        "bytes": pyarrow.array([b"\xff", None]),
        "fixed": pyarrow.array([b"ab", None], pyarrow.binary(2)),
        "large": pyarrow.array(["a", None], pyarrow.large_string()),
        "half": pyarrow.array([1.5, None], pyarrow.float32()).cast(pyarrow.float16()),
        "nothing": pyarrow.nulls(2),
        "objects": pyarrow.array([[{"a": [{"b": "c"}]}], None]),
        "vector": pyarrow.array([[1.0, 2.0], None], pyarrow.list_(pyarrow.float32(), 2)),
    }
    writer.write_table(pyarrow.table({"text": ["a", "b"], **others}), tmp_path / "a.parquet")
    assert [row.text for row in texts(tmp_path / "a.parquet")] == ["a", "b"]


def test_labels_of_a_database_are_numbers(tmp_path: Path) -> None:
    """Which writes decimal ones; what is no label is called what it is."""
    path = write(tmp_path / "a.parquet", [{"text": "good", "label": Decimal("2.50")}, {"text": "bad", "label": None}])
    assert [row.label for row in texts(path)] == [2.5, None]
    for value, said in ((b"x", "the label holds bytes"), (date(2020, 1, 1), "the label holds a date or a time")):
        with pytest.raises(DataError, match=said):
            texts(write(path, [{"text": "good", "label": value}]))


def test_datasets_writes_what_is_read(tmp_path: Path) -> None:
    """Labels by name in Parquet, by number elsewhere; questions a row."""
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    datasets.disable_progress_bars()
    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    made = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=datasets.Features(features))
    made.to_parquet(tmp_path / "a.parquet")
    made.to_json(tmp_path / "b.json")
    made.to_json(tmp_path / "c.json", lines=False)
    made.to_csv(tmp_path / "d.csv")
    (tmp_path / "e.json").write_text(json.dumps(made.to_dict()))
    assert [row.label for row in texts(tmp_path / "a.parquet")] == [Named("pos", 1), Named("neg", 0)]
    for path in sorted(tmp_path.iterdir()):
        assert read_labels(texts(path), ("neg", "pos"), None).targets == [1, 0]
    row = {"id": "1", "context": CONTEXT, "question": "what", "answers": {"text": ["sang"], "answer_start": [13]}}
    made = datasets.Dataset.from_list([row])
    made.to_parquet(tmp_path / "q.parquet")
    made.to_json(tmp_path / "q.json")
    for name in ("q.parquet", "q.json"):
        (found,) = read_data(tmp_path / name, "questions").rows
        assert isinstance(found, QuestionRow)
        assert found.answers == (("sang", 13),)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), r"cannot be read \(Permission denied\)"),
        (None, "is packed or encrypted in a way that is not read"),
        (OSError("no magic bytes"), "is not a whole Parquet file"),
    ],
)
def test_why_a_file_is_not_read_is_told(
    error: Exception | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that nobody may read is not called broken. Without an error: one of pyarrow's own."""
    arrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")

    def refuse(*_: object, **__: object) -> None:
        raise error or arrow.ArrowNotImplementedError("LZO")

    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refuse)
    with pytest.raises(DataError, match=said):
        read_data(path, "texts")
