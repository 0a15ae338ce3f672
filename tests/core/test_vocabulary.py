"""Tokens that go from a vocabulary: what stays, that every text is still read, and that answers are the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from tokenizers import Tokenizer

import pgb_core
from pgb_core.artifact import CONFIG, open_artifact
from pgb_core.checkpoints import vocabulary
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.checkpoints.trim import trimmed
from pgb_core.config import CompressConfig
from pgb_core.data import Columns, QuestionRow
from pgb_core.errors import CheckpointError, ConfigError, DataError, ParityError
from pgb_core.gate import gate
from pgb_core.inference.batches import prepare_texts
from pgb_core.model.predict import torch_predictor
from pgb_core.pipeline import compress
from pgb_core.progress.report import Report
from pgb_core.run import vocabulary as used
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import locked
from pgb_core.tasks.parts import half
from pgb_core.tasks.texts import SINGLE
from tests.conftest import ARCHITECTURES
from tests.core.small import checkpoint
from tests.odd.variants import Variant, build, byte_pairs, unigrams, word_pieces
from tests.reports import Heard

FILES: dict[str, Callable[[], str]] = {
    "WordPiece": word_pieces,
    "BPE": byte_pairs,
    "Unigram": unigrams,
    "CamemBERT": lambda: unigrams(camembert=True),
}
USED = ["The film was good.", "A dull, overlong story that never finds its voice.", "Café déjà-vu naïve façade"]


def without(spec: Mapping[str, Any], texts: list[str]) -> Tokenizer:
    """The tokenizer with what these texts use, and what must stay."""
    vocabulary.check(spec)
    whole = Tokenizer.from_str(json.dumps(spec))
    kept = vocabulary.kept_ids(spec, {n for text in texts for n in whole.encode(text).ids})
    found = Tokenizer.from_str(json.dumps(vocabulary.renumbered(spec, {old: n for n, old in enumerate(sorted(kept))})))
    assert found.get_vocab_size() == len(kept) < whole.get_vocab_size()
    return found


def made_up(count: int) -> list[str]:
    """Words of characters of all kinds, of which some no vocabulary has."""
    characters = sorted({c for text in SINGLE for c in text} | set("\N{SNOWMAN}ß\U0001f600"))
    draw = random.Random(3)  # noqa: S311
    words = [word for text in SINGLE for word in text.split()]
    return [
        " ".join(
            draw.choice(words)[: draw.randint(1, 9)] + "".join(draw.choices(characters, k=draw.randint(0, 4)))
            for _ in range(draw.randint(1, 8))
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", FILES)
def test_texts_in_use_keep_their_pieces_and_no_other_text_becomes_unknown(kind: str) -> None:
    """The same tokens where they are used; elsewhere the same characters in smaller pieces, unknown where they were."""
    spec = json.loads(FILES[kind]())
    whole, small = Tokenizer.from_str(json.dumps(spec)), without(spec, USED)
    unknown = {"[UNK]", "<unk>"}
    for text in USED:
        assert small.encode(text).tokens == whole.encode(text).tokens
    others = 0
    for text in [*SINGLE, *made_up(300)]:
        was, now = whole.encode(text).tokens, small.encode(text).tokens
        others += was != now
        assert sum(token in unknown for token in now) == sum(token in unknown for token in was)
        joined = ["".join(token.removeprefix("##") for token in tokens) for tokens in (was, now)]
        assert joined[0] == joined[1]
    assert others > 100
    for text, pair in [("", None), (USED[0], USED[1])]:
        was, now = (t.encode(text) if pair is None else t.encode(text, pair) for t in (whole, small))
        assert now.tokens == was.tokens
        assert [small.id_to_token(n) for n in now.ids] == now.tokens


def _changed(kind: str, **changes: object) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(FILES[kind]())
    spec["model"].update(changes)
    return spec


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}}}, "of the kind WordLevel"),
        (_changed("BPE", ignore_merges=True), "sets ignore_merges"),
        (_changed("BPE", end_of_word_suffix="</w>"), "sets end_of_word_suffix"),
        ({**_changed("BPE"), "post_processor": {"type": "Other"}}, "Other cannot be given other ids"),
        (
            _changed("WordPiece", vocab={"[UNK]": 0, "a": 1, "ab": 2}),
            "has the piece 'ab' and no piece '##b'",
        ),
        (
            _changed("Unigram", vocab=[["<unk>", 0.0], ["ab", -1.0], ["a", -2.0]], unk_id=0),
            "has the piece 'ab' and no piece 'b'",
        ),
    ],
)
def test_a_tokenizer_that_could_not_write_what_goes_is_refused(spec: dict[str, Any], said: str) -> None:
    """With the fact and the remedy."""
    with pytest.raises(CheckpointError, match=said) as refusal:
        vocabulary.check(spec)
    assert "leave --vocabulary used out" in str(refusal.value)


def test_the_lowest_score_stays_as_unknown_characters_are_scored_by_it() -> None:
    """Though no text uses the piece that has it."""
    entries = [["<unk>", 0.0], ["a", -2.0], ["b", -3.0], ["ab", -9.0], ["aa", -1.0]]
    spec = {"model": {"type": "Unigram", "vocab": entries, "unk_id": 0}, "post_processor": None}
    assert vocabulary.kept_ids(spec, {1}) == {0, 1, 2, 3}


def test_the_parts_of_which_merges_make_a_token_stay() -> None:
    """All of them, whichever merge makes it; a merge that makes a token that goes is gone."""
    vocab = {token: n for n, token in enumerate(["a", "b", "c", "ab", "bc", "abc", "ca"])}
    merges = [["a", "b"], ["ab", "c"], ["b", "c"], ["a", "bc"], ["c", "a"]]
    spec = {"model": {"type": "BPE", "vocab": vocab, "merges": merges}, "post_processor": None}
    kept = vocabulary.kept_ids(spec, {vocab["abc"]})
    assert kept == set(range(6))
    found = vocabulary.renumbered(spec, {n: n for n in kept})["model"]
    assert found["merges"] == merges[:4]
    assert "ca" not in found["vocab"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_answers_as_before_with_fewer_tokens(architecture: str, tmp_path: Path) -> None:
    """The same logits from the same texts; the padding keeps its place where positions are counted from it."""
    config = {"embedding_size": 16} if architecture == "electra" else {}
    loaded = load_checkpoint(build(Variant(architecture, architecture, config=config), tmp_path))
    whole = loaded.tokenizer
    small = trimmed(loaded, {n for text in USED for n in whole.encode(text).ids})
    kept = small.kept
    assert kept is not None
    assert small.model.config.vocab == len(kept) < 0.8 * whole.get_vocab_size()
    assert small.passed_on["vocab_size"] == len(kept)
    assert small.digest == loaded.digest
    assert small.key != loaded.key
    assert kept[small.model.config.pad_id] == loaded.model.config.pad_id
    if not loaded.model.config.counts_padding:
        assert small.model.config.pad_id == loaded.model.config.pad_id
    for text in USED:
        was, now = whole.encode(text), small.tokenizer.encode(text)
        assert [kept[n] for n in now.ids] == was.ids
        with torch.no_grad():
            want, got = (m(torch.tensor([e.ids])) for m, e in ((loaded.model, was), (small.model, now)))
        assert torch.equal(want, got)


def test_the_gate_holds_the_smaller_model_against_transformers(tmp_path: Path) -> None:
    """From the probe texts, by the ids that transformers gave and their new ones; a wrong row of the table stops it."""
    loaded = load_checkpoint(build(Variant("bert"), tmp_path), probed=True)
    small = trimmed(loaded, set())
    assert gate(small) == gate(loaded)
    with torch.no_grad():
        small.model.embeddings.word.weight[small.tokenizer.token_to_id("film")] *= -1
    with pytest.raises(ParityError, match="differs from transformers"):
        gate(small)


def _rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": n % 2}) + "\n" for n, text in enumerate(texts)))
    return path


def _config(model: Path, out: Path, data: Path, **changes: object) -> CompressConfig:
    asked: dict[str, object] = {
        "vocabulary": "used",
        "keep": 0.5,
        "trust_labels": True,
        "device": "cpu",
        "forms": "fp32",
    }
    return CompressConfig(checkpoint=str(model), out=str(out), train=str(data), **(asked | changes))


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_an_artifact_without_unused_tokens_opens_and_answers_as_any_other(architecture: str, tmp_path: Path) -> None:
    """By `pgb_core.load`, by transformers' tokenizer with ONNX Runtime; manifest, config and note say what went."""
    model = build(Variant(architecture, architecture, config={"num_labels": 2}), tmp_path / "model")
    loaded = load_checkpoint(model)
    more = tmp_path / "more.txt"
    more.write_text("today's emails\n")
    data, held_out = _rows(tmp_path / "a.jsonl", USED * 3), _rows(tmp_path / "b.jsonl", [*USED[:1], "One film"])
    said = {"eval": str(held_out), "keep": 1.0, "vocabulary_text": str(more)}
    told = Heard()
    done = compress(_config(model, tmp_path / "small", data, **said), told)
    found = open_artifact(done.path).manifest.measured["vocabulary"]
    before, after = found["tokens"]["before"], found["tokens"]["after"]
    assert after < before == loaded.model.config.vocab
    assert found["megabytes"]["after"] < found["megabytes"]["before"]
    assert found["texts"] == found["same_pieces"] == 5
    assert found["max_difference"] == 0
    assert found["held_out"] == {"texts": 2, "with_tokens_of_their_own": 1}
    assert any(f"{after:,} of {before:,} tokens stay" in note for note in told.notes)
    assert f"{after:,} of {before:,} tokens" in (done.path / "README.md").read_text()
    shape = json.loads((done.path / CONFIG).read_text())
    assert shape["vocab_size"] == after
    assert transformers.AutoConfig.from_pretrained(done.path).pad_token_id == done.manifest.pad_id
    theirs = transformers.AutoTokenizer.from_pretrained(done.path)
    assert len(theirs) <= after
    session = onnxruntime.InferenceSession(str(done.path / "model.onnx"))
    predict = torch_predictor(loaded.model)
    with pgb_core.load(done.path) as served:
        for text in [*USED, "today's emails", "One film"]:
            (want,) = predict(prepare_texts(loaded.served_tokenizer, [text]))
            (found,) = session.run(None, dict(theirs(text, return_tensors="np")))
            np.testing.assert_allclose(found[0], want, atol=1e-4 * np.abs(want).max())
            assert served(text)[0]["label"] == loaded.labels[int(want.argmax())]


def test_a_text_that_would_be_read_otherwise_stops_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its place, before the work begins, with how many there are."""
    monkeypatch.setattr(used, "_ids", lambda tokenizer, texts, report: set())
    model = build(Variant("bert"), tmp_path / "model")
    data, held_out = _rows(tmp_path / "a.jsonl", USED), _rows(tmp_path / "b.jsonl", [*USED, "One film", "One song"])
    with pytest.raises(CheckpointError, match=r"b\.jsonl:4: has other pieces .* as 2 of 5 texts have"):
        compress(_config(model, tmp_path / "small", data, eval=str(held_out)))
    assert not (tmp_path / "small").exists()


def test_a_tokenizer_of_whole_words_is_refused_before_the_work(tmp_path: Path) -> None:
    """Of a checkpoint, by the command's own settings."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    with pytest.raises(CheckpointError, match="of the kind WordLevel"):
        compress(_config(model, tmp_path / "small", _rows(tmp_path / "a.jsonl", USED)))


def test_more_texts_are_in_the_column_that_is_named(tmp_path: Path) -> None:
    """Where the file has it; another file is read by ordinary names."""
    named, ordinary = tmp_path / "named.csv", tmp_path / "ordinary.csv"
    named.write_text("body,text\nthis one,not this\n")
    ordinary.write_text("text\nthat one\n")
    columns = Columns("body", None, (), True)
    assert [row.text for row in used.more_texts(str(named), columns).rows] == ["this one"]
    assert [row.text for row in used.more_texts(str(ordinary), columns).rows] == ["that one"]
    with pytest.raises(DataError, match="no such file"):
        used.more_texts(str(tmp_path / "absent.csv"), columns)


def test_more_texts_have_labels_that_nobody_reads(tmp_path: Path) -> None:
    """As a log of answers has: two columns that could be one, or an object, in a file with other columns too."""
    path = tmp_path / "log.jsonl"
    for labels in ({"label": "POSITIVE", "score": 0.98}, {"label": {"id": 1}}):
        path.write_text(json.dumps({"text": "this one", **labels}) + "\n")
        for columns in (Columns(), Columns("text"), Columns("body")):
            found = used.more_texts(str(path), columns)
            assert [row.texts for row in found.rows] == [("this one",)]
            assert "text from 'text', no label; 'label'" in found.notes[0]


def test_more_texts_may_be_questions(tmp_path: Path) -> None:
    """With what they are about; what is neither is refused as texts are."""
    path = tmp_path / "more.json"
    asked = {"id": "1", "question": "Who sang?", "answers": [{"text": "he", "answer_start": 0}]}
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": "he sang", "qas": [asked]}]}]}))
    (row,) = used.more_texts(str(path)).rows
    assert isinstance(row, QuestionRow)
    assert (row.question, row.context) == ("Who sang?", "he sang")
    path.write_text("[]")
    with pytest.raises(DataError, match="no rows"):
        used.more_texts(str(path))


def test_settings_that_name_no_texts_or_are_not_read_are_refused(tmp_path: Path) -> None:
    """Which tokens are used must come from somewhere; a file that is not there is named."""
    asked = {"checkpoint": "model", "out": "small", "keep": 1.0}
    with pytest.raises(ConfigError, match="no texts say what is used"):
        CompressConfig(**asked, vocabulary="used")
    with pytest.raises(ConfigError, match="--vocabulary-text is read for --vocabulary used alone"):
        CompressConfig(**asked, train="a.csv", vocabulary_text="b.txt")
    model = build(Variant("bert"), tmp_path / "model")
    absent = str(tmp_path / "absent.txt")
    with pytest.raises(DataError, match=r"absent\.txt"):
        compress(_config(model, tmp_path / "small", _rows(tmp_path / "a.jsonl", USED), vocabulary_text=absent))


def test_stages_of_another_vocabulary_are_not_taken_over(tmp_path: Path) -> None:
    """Two vocabularies of one checkpoint are two models; inputs have the new ids."""
    model = build(Variant("bert"), tmp_path / "model")
    data = _rows(tmp_path / "a.jsonl", USED)
    digests = []
    for name in ("all", "used"):
        with locked(tmp_path / "small") as workspace:
            run = Run.begin(_config(model, tmp_path / "small", data, vocabulary=name), Report(), workspace, Shared())
        digests.append(run.first("scores").digest)
        texts = [run.checkpoint.tokenizer.encode(text).ids for text in USED]
        assert sorted(item.ids for item in run.inputs.training) == sorted(texts)
        assert sorted(item.ids for item in run.inputs.calibration) == sorted(texts)
    assert digests[0] != digests[1]


def test_both_halves_of_the_held_out_rows_are_judged_by_the_vocabulary_of_the_first(tmp_path: Path) -> None:
    """The search for a size chooses on one half and confirms on the other, whose tokens decide nothing."""
    model = build(Variant("bert"), tmp_path / "model")
    data, held_out = _rows(tmp_path / "a.jsonl", USED), _rows(tmp_path / "b.jsonl", ["leading blank", "σίσυφος très"])
    config = _config(model, tmp_path / "small", data, eval=str(held_out))
    shared, runs = Shared(None, partial(half, number=0)), []
    for given in (shared, shared.judged(partial(half, number=1))):
        with locked(tmp_path / "small") as workspace:
            runs.append(Run.begin(config, Report(), workspace, given))
    assert runs[0].checkpoint.kept == runs[1].checkpoint.kept
    dense = load_checkpoint(model).tokenizer
    lost = []
    for run in runs:
        assert run.inputs.held_out is not None
        ((text,),) = (row.texts for row in run.inputs.held_out.rows)
        lost.append(not set(dense.encode(text).ids).issubset(run.checkpoint.kept or ()))
    assert lost == [False, True]
