"""Reading data: every format, every complaint with file and line."""

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer, models, pre_tokenizers, processors

from pgb_core.data import QuestionRow, TextRow, read_data
from pgb_core.errors import DataError
from pgb_core.tasks.features import Features, collate, grouped
from pgb_core.tasks.qa import encode_questions


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("sst2.tsv", 'sentence\tlabel\nan "odd" one\t1\n', ('an "odd" one', None, "1")),
        ("cola.tsv", "gj04\t1\t\tThe boat sank.\n", ("The boat sank.", None, "1")),
        ("mrpc.tsv", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\ta\tb\n", ("a", "b", "0")),
        ("qnli.tsv", "index\tquestion\tsentence\tlabel\n0\tq\ts\tentailment\n", ("q", "s", "entailment")),
        ("bank.csv", 'text,category\n"a, b",card\n', ("a, b", None, "card")),
        ("rows.jsonl", '{"text": "é", "label": 2}\n', ("é", None, 2)),
        ("many.jsonl", '{"text": "x", "labels": ["a", "b"]}\n', ("x", None, ("a", "b"))),
        ("plain.txt", "\n one line \n", ("one line", None, None)),
    ],
)
def test_every_format_is_read(tmp_path: Path, name: str, content: str, wanted: tuple[object, ...]) -> None:
    """GLUE with and without header, CSV, JSONL, plain text."""
    (tmp_path / name).write_text(content, "utf-8")
    (row,) = read_data(tmp_path / name, "texts").rows
    assert isinstance(row, TextRow)
    assert (row.text, row.pair, row.label) == wanted


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.tsv", "", "empty.tsv: no rows; the file is empty"),
        ("header.csv", "text,label\n", "no rows"),
        ("short.tsv", "sentence\tlabel\ngood\t1\nbad\n", "short.tsv:3: 1 column where the header has 2"),
        ("odd.csv", "color,label\nred,1\n", "odd.csv:1: no text column among color, label"),
        ("bad.jsonl", '{"text": "a"}\n{"text": \n', "bad.jsonl:2: not a JSON object a line"),
        ("list.jsonl", '["a"]\n', r"list.jsonl\[0\]: a text, not a JSON object; write each row as one"),
        ("bytes.txt", None, "not UTF-8 at byte 1"),
        ("table.xls", "x", "table.xls: is an Excel file"),
        ("table.odd", "x", "unknown kind '.odd'"),
    ],
)
def test_malformed_data_is_named_with_file_and_line(
    tmp_path: Path, name: str, content: str | None, reason: str
) -> None:
    """One clear line."""
    if content is None:
        (tmp_path / name).write_bytes(b"a\xff")
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=reason):
        read_data(tmp_path / name, "texts")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"data": null}',
        '{"data": {"paragraphs": []}}',
        '{"data": [{"paragraphs": null}]}',
        '{"data": [{"paragraphs": [{"context": "c", "qas": ["who"]}]}]}',
        '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": 1}]}]}]}',
    ],
)
def test_malformed_squad_is_named(tmp_path: Path, content: str) -> None:
    """Not JSON, not SQuAD, a question that lacks its text."""
    (tmp_path / "squad.json").write_text(content)
    with pytest.raises(DataError, match=r"squad\.json"):
        read_data(tmp_path / "squad.json", "questions")
    with pytest.raises(DataError, match="no such file"):
        read_data(tmp_path / "absent.json", "questions")


def words(*vocabulary: str) -> Tokenizer:
    """One token a word, between BERT's special tokens."""
    names = ("[UNK]", "[CLS]", "[SEP]", *vocabulary)
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(names)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def test_windows_cover_the_context_and_find_the_answer() -> None:
    """Every context token is in some window, and the target is the answer where it is whole."""
    context = [f"w{n}" for n in range(30)]
    row = QuestionRow("which", " ".join(context), (("w11 w12", " ".join(context).index("w11")),), "1")
    tokenizer = words("which", *context)
    features = encode_questions([row], tokenizer, 16, 3)
    assert {tokenizer.id_to_token(n) for f in features for n in f.ids} == {"[CLS]", "[SEP]", "which", *context}
    assert len(features) > 2
    for f in features:
        start, end = f.target  # type: ignore[misc]
        if (start, end) != (0, 0):
            assert [tokenizer.id_to_token(n) for n in f.ids[start : end + 1]] == ["w11", "w12"]
    assert sum(f.target != (0, 0) for f in features) >= 1


def overlapping(row: QuestionRow, tokenizer: Tokenizer, length: int, stride: int) -> list[Encoding]:
    """The windows as the library makes them."""
    tokenizer.enable_truncation(length, stride=stride, strategy="only_second")
    try:
        first = tokenizer.encode(row.question, row.context)
    finally:
        tokenizer.no_truncation()
    return [first, *first.overflowing]


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 70), st.sampled_from([16, 17, 24]))
def test_an_answer_between_two_windows_has_one_of_its_own(count: int, size: int, at: int, length: int) -> None:
    """Just where no other window holds it whole; all others are as before, and none is too long."""
    context = [f"w{n}" for n in range(count)]
    answer = context[at % count :][:size]
    place = len(" ".join([*context[: at % count], ""]))
    row = QuestionRow("which", " ".join(context), ((" ".join(answer), place),), "1")
    tokenizer = words("which", *context)
    stride = min(3, (length - 3) // 4)
    features = encode_questions([row], tokenizer, length, stride)
    usual = overlapping(row, tokenizer, length, stride)
    assert [f.ids for f in features[: len(usual)]] == [window.ids for window in usual]
    ids = [tokenizer.token_to_id(word) for word in answer]
    held = [any(part == ids for part in _slices(window.ids, len(ids))) for window in usual]
    assert [f.target != (0, 0) for f in features[: len(usual)]] == held
    own = features[len(usual) :]
    assert len(own) == (not any(held) and len(answer) <= length - 4)
    for feature in own:
        start, end = feature.target  # type: ignore[misc]
        assert feature.ids[start : end + 1] == ids
        assert feature.ids[:3] == usual[0].ids[:3]
        assert feature.ids[-1] == usual[0].ids[-1]
        assert len(feature.ids) == len(feature.types) == length
        shown = [tokenizer.id_to_token(n) for n in feature.ids[3:-1]]
        assert shown == context[context.index(shown[0]) :][: length - 4]
        before, after = start - 3, length - 2 - end
        assert abs(before - after) <= 1 or shown[0] == "w0" or shown[-1] == context[-1]


def _slices(ids: list[int], size: int) -> list[list[int]]:
    return [ids[n : n + size] for n in range(len(ids) - size + 1)]


def test_batches_keep_to_their_budget_and_lose_nothing() -> None:
    """Padded tokens stay within the budget; a seed shuffles, the same seed the same way."""
    features = [Features([1] * (1 + n % 17), [0] * (1 + n % 17), 0, n) for n in range(100)]
    for seed in (None, 3):
        groups = grouped(features, 64, seed)
        assert all(len(g) * max(len(f.ids) for f in g) <= 64 for g in groups)
        assert sorted(f.row for g in groups for f in g) == list(range(100))
    order = [[f.row for g in grouped(features, 64, seed) for f in g] for seed in (3, 3, 4)]
    assert order[0] == order[1] != order[2]


def test_padding_is_masked() -> None:
    """Pad ids, zero mask, zero types; targets only when every row has one."""
    batch = collate([Features([5, 6, 7], [0, 1, 1], 1, 0), Features([8], [0], 0, 1)], pad_id=9)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.token_type_ids.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert batch.targets is not None
    assert batch.targets.tolist() == [1, 0]
    assert collate([Features([5], [0], None, 0)], 0).targets is None


def test_the_project_s_own_texts_are_whole() -> None:
    """Balanced sentiment, and answers that stand where they say."""
    folder = Path(__file__).parents[2] / "examples" / "data"
    rows = read_data(folder / "sentiment.jsonl", "texts").rows
    labels = [row.label for row in rows if isinstance(row, TextRow)]
    assert labels.count("positive") == labels.count("negative") == 200
    assert len({row.text for row in rows if isinstance(row, TextRow)}) == 400
    questions = read_data(folder / "questions.json", "questions").rows
    assert len(questions) >= 100
    for q in questions:
        assert isinstance(q, QuestionRow)
        assert q.answers
        assert all(q.context[start : start + len(text)] == text for text, start in q.answers)
    assert json.loads((folder / "questions.json").read_text())["version"] == "1.1"


def test_labels_under_the_names_that_glue_gives_them_are_read(tmp_path: Path) -> None:
    """MNLI's and QQP's own columns."""
    for name, header in (
        ("mnli", "index\tsentence1\tsentence2\tlabel1\tgold_label"),
        ("qqp", "id\tquestion1\tquestion2\tother\tis_duplicate"),
    ):
        file = tmp_path / f"{name}.tsv"
        file.write_text(f"{header}\n0\ta b\tc d\tx\t1\n")
        (row,) = read_data(file, "texts").rows
        assert isinstance(row, TextRow)
        assert (row.text, row.pair, row.label) == ("a b", "c d", "1")


def test_a_cell_may_hold_lines_and_be_long(tmp_path: Path) -> None:
    """As CSV allows; what it does not is named with its line."""
    file = tmp_path / "rows.csv"
    long = "word " * 40_000
    file.write_text(f'text,label\n"line one\nline two",1\n{long},0\n')
    assert [row.text for row in read_data(file, "texts").rows] == ["line one\nline two", long]  # type: ignore[union-attr]
    file.write_text("text,label\n")
    file.write_bytes(b"text,label\na\rb,1\n")
    with pytest.raises(DataError, match=r"rows\.csv:2"):
        read_data(file, "texts")


@pytest.mark.parametrize("answers", ["", ', "answers": []'])
def test_questions_that_nobody_answered_are_unlabelled(tmp_path: Path, answers: str) -> None:
    """Not unanswerable: they have no target. Beside answered ones an empty list is an answer."""
    file = tmp_path / "rows.json"
    unknown = f'{{"id": "1", "question": "who" {answers}}}'
    known = '{"id": "2", "question": "who", "answers": [{"text": "town", "answer_start": 4}]}'
    text = '{"data": [{"paragraphs": [{"context": "the town sang", "qas": [%s]}]}]}'
    file.write_text(text % unknown)
    (row,) = read_data(file, "questions").rows
    assert isinstance(row, QuestionRow)
    assert row.answers is None
    (feature,) = encode_questions([row], words("the", "town", "sang", "who"), 16, 4)
    assert feature.target is None
    file.write_text(text % f"{unknown}, {known}")
    assert [row.answers for row in read_data(file, "questions").rows] == [() if answers else None, (("town", 4),)]  # type: ignore[union-attr]


class Hub:
    """What `datasets` gives: rows with features."""

    def __init__(self, *rows: dict[str, object]) -> None:
        self.rows = rows
        self.features: dict[str, object] = {}

    def __iter__(self) -> Iterator[dict[str, object]]:
        return iter(self.rows)


def test_a_hub_dataset_is_split_by_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a split means the caller's; a question without a context is one line."""
    asked: list[tuple[object, ...]] = []

    def load(name: str, config: str | None, split: str) -> Hub:
        asked.append((name, config, split))
        return Hub({"sentence": "good", "label": 1, "question": "who"})

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))
    read_data("nyu-mll/glue/sst2", "texts")
    read_data("nyu-mll/glue/sst2", "texts", split="train")
    read_data("nyu-mll/glue/sst2:test", "texts", split="train")
    assert asked == [("nyu-mll/glue", "sst2", split) for split in ("validation", "train", "test")]
    data = read_data("squad:test", "texts")
    assert asked.pop() == ("squad", None, "test")
    assert "squad:test: 1 row, 3 columns, split 'test' of squad: text from 'question'" in data.notes[0]
    read_data("owner/texts-v1.1", "texts")
    assert asked.pop() == ("owner/texts-v1.1", None, "validation")
    for name in ("owner/texts.csv", "texts-v1.1"):
        with pytest.raises(DataError, match="no such file"):
            read_data(name, "texts")
    assert asked[-1] == ("nyu-mll/glue", "sst2", "test")
    with pytest.raises(DataError, match=r"no question as SQuAD has it \(lacks 'context'\)"):
        read_data("google/boolq", "questions")


class DatasetNotFoundError(Exception):
    """As `datasets` says it."""


def hub(asked: list[tuple[object, ...]]) -> types.SimpleNamespace:
    """The package `datasets` beside a hub that has glue alone."""

    def load(name: str, config: str | None, split: str) -> Hub:
        asked.append((name, config, split))
        if name != "glue":
            raise DatasetNotFoundError(name)
        if config not in ("sst2", "cola"):
            raise ValueError(f"BuilderConfig {config} not found." if config else "Config name is missing.")
        if split.partition("[")[0] not in ("train", "validation"):
            raise ValueError(f'Unknown split "{split}".')
        return Hub({"sentence": "good", "label": 1})

    def configs(name: str) -> list[str]:
        return ["cola", "sst2"] if name == "glue" else []

    def splits(name: str, config: str | None) -> list[str]:
        return ["train", "validation"]

    return types.SimpleNamespace(load_dataset=load, get_dataset_config_names=configs, get_dataset_split_names=splits)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("glue:sst2", ("glue", "sst2", "validation")),
        ("glue:sst2:train", ("glue", "sst2", "train")),
        ("glue:sst2:train[:2]", ("glue", "sst2", "train[:2]")),
        ("glue/sst2", ("glue", "sst2", "validation")),
        ("glue/sst2:train", ("glue", "sst2", "train")),
    ],
)
def test_a_hub_dataset_has_a_config_and_a_split(
    name: str, wanted: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a colon or a slash; what was taken is told."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setitem(sys.modules, "datasets", hub(asked))
    data = read_data(name, "texts")
    assert f"split '{wanted[2]}' of glue, config 'sst2'" in data.notes[0]
    assert asked[-1] == wanted


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("glue", r"glue: has several configs, cola, sst2; name one, as glue:cola"),
        ("glue:train", "has several configs, cola, sst2"),
        ("glue:sst2:test", "has no split 'test'; name one of train, validation, as glue:sst2:"),
        ("glue/sst3", "has no config 'sst3'; name one of cola, sst2"),
        ("owner/none", r"neither a file here nor a dataset that the hub gave \(DatasetNotFoundError\)"),
        ("a:b:c:d", "nor a name of a dataset"),
        ("a/b/c/d", "nor a name of a dataset"),
        ("a/b/c:d:e", "nor a name of a dataset"),
        ("glue:", "nor a name of a dataset"),
    ],
)
def test_what_the_hub_has_not_is_said(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it has."""
    monkeypatch.setitem(sys.modules, "datasets", hub([]))
    with pytest.raises(DataError, match=said):
        read_data(name, "texts")


def test_a_hub_dataset_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside saying that there is no such file."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"squad: no such file; .*pip install '\.\[hub\]'"):
        read_data("squad", "texts")
