"""From text to logits: what must be equal before any work begins, and how a difference is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pgb_core.artifact import open_artifact
from pgb_core.checkpoints.load import load_checkpoint, name_of
from pgb_core.config import CompressConfig
from pgb_core.errors import CheckpointError, ParityError
from pgb_core.export.parity import SMALLEST, TOLERANCE, inputs_of, parity_of
from pgb_core.gate import gate
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.pipeline import compress
from pgb_core.tasks import TASKS as ALL_TASKS
from pgb_core.tasks.texts import long_text
from tests.conftest import TASKS
from tests.odd.variants import VARIANTS, Variant, build
from tests.reports import Heard

KINDS = {variant.name: variant for variant in VARIANTS}


def test_a_difference_is_allowed_by_the_size_of_the_logits() -> None:
    """The same share of logits of a thousand and of one; below a floor all is noise."""
    for size in (1000.0, 1.0, 0.01):
        want = [np.array([size, -size / 2], np.float32)]
        near = [want[0] + np.float32(size * TOLERANCE * 0.9)]
        far = [want[0] + np.float32(size * TOLERANCE * 1.1)]
        assert parity_of(want, near).max_difference <= parity_of(want, near).allowed
        assert parity_of(want, far).max_difference > parity_of(want, far).allowed
    tiny = [np.zeros(2, np.float32)]
    assert parity_of(tiny, tiny).allowed == pytest.approx(TOLERANCE * SMALLEST)
    odd = [np.array([np.nan, 0], np.float32)]
    for want, got in (([*tiny, *tiny], [*tiny, *odd]), ([*tiny, *odd], [*tiny, *odd]), (odd, tiny)):
        assert parity_of(want, got).max_difference == np.inf


@pytest.mark.parametrize("task", TASKS)
def test_probe_texts_hold_what_tells_tokenizers_apart(task: str) -> None:
    """Case, accents, scripts, emoji, right to left, blanks in front, special and added tokens, more than fits."""
    texts = ALL_TASKS[task].probes(long_text(64), ["brandname"])
    whole = "".join(text + (pair or "") for text, pair in texts)
    for wanted in ("IBM", "é", "e\u0301", "天", "한", "א", "😍", "\u202e", "[SEP]", "</s>", "brandname", "\x00"):
        assert wanted in whole
    assert any((pair or text).startswith(" ") for text, pair in texts)
    assert any(len((pair or text).split()) > 64 for text, pair in texts)
    assert all(pair is not None for _, pair in texts) == (task == "qa")
    assert any(pair is not None for _, pair in texts)


def dense(variant: Variant, folder: Path) -> Heard:
    """Export all of a variant; what was said meanwhile."""
    told = Heard()
    place = {"checkpoint": str(build(variant, folder / "model")), "out": str(folder / "out")}
    compress(CompressConfig(**place, keep=1.0, forms="fp32"), told)
    return told


def test_what_was_read_is_said(tmp_path: Path) -> None:
    """Case, accents, length; and that tokenizer.json by itself says something else."""
    told = dense(
        replace(KINDS["bert-config-cased"], settings={"do_lower_case": False, "model_max_length": 40}), tmp_path
    )
    assert any("cased, accents kept; cut at 40 tokens" in note for note in told.notes)
    assert any(note == "model_max_length cuts inputs at 40 tokens; the model has 64 positions" for note in told.notes)
    assert any("tokenizer.json by itself would read" in warning for warning in told.warnings)
    assert not any("by itself" in warning for warning in dense(KINDS["bert"], tmp_path / "b").warnings)


def test_a_checkpoint_that_is_named_by_a_point_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the manifest and on the model card; a link is called as it is written."""
    model = build(KINDS["bert"], tmp_path / "my-bert")
    (tmp_path / "latest").symlink_to(model)
    (model / "inner").mkdir()
    monkeypatch.chdir(model)
    for given in (".", "../my-bert/", "inner/..", str(model)):
        assert name_of(given) == "my-bert"
    assert name_of(tmp_path / "latest") == "latest"
    assert name_of("owner/name") == "owner/name"
    compress(CompressConfig(checkpoint=".", out=tmp_path / "out", keep=1.0, forms="fp32"))
    artifact = open_artifact(tmp_path / "out")
    assert artifact.manifest.provenance["checkpoint"] == "my-bert"
    assert artifact.manifest.provenance["settings"]["checkpoint"] == "my-bert"
    assert "my-bert" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_the_file_of_an_artifact_says_length_and_side(tmp_path: Path) -> None:
    """So the service cuts where the training did, on the left too, unless a request says another side."""
    dense(replace(KINDS["bert-left"], settings={"truncation_side": "left", "model_max_length": 12}), tmp_path)
    artifact = open_artifact(tmp_path / "out")
    assert artifact.manifest.max_length == 12
    assert json.loads(artifact.tokenizer.read_text())["truncation"]["direction"] == "Left"
    tokenizer = Tokenizer.open(artifact.tokenizer, 12)
    assert tokenizer.side == "left"

    def ids(side: str | None) -> list[int]:
        work = tokenizer.texts([" ".join(f"w{n}" for n in range(40))], side)
        while True:
            try:
                next(work)
            except StopIteration as done:
                return list(done.value[0].ids)

    assert ids(None) == ids("left") != ids("right")


def test_types_beyond_the_table_are_said_and_fit(tmp_path: Path) -> None:
    """A table of one row gets type 0 alone, and a pair goes through the graph."""
    told = dense(KINDS["roberta-pairs-of-type-1"], tmp_path)
    assert "token types above 0 are read as 0: the table has 1 row" in told.notes
    told = dense(KINDS["bert-no-types"], tmp_path / "b")
    assert "every token is of type 0, as model_input_names does not name token_type_ids" in told.notes


def test_a_model_that_differs_is_refused_before_any_work(tmp_path: Path) -> None:
    """By the setting that is not read; no stage of the work has begun and nothing is left."""
    told = Heard()
    source = build(KINDS["bert-decoder"], tmp_path / "model")
    data = tmp_path / "rows.txt"
    data.write_text("the film\n" * 30)
    with pytest.raises(ParityError, match="is_decoder True"):
        compress(CompressConfig(checkpoint=str(source), out=str(tmp_path / "out"), calibrate=str(data)), told)
    assert told.stages == ["Loading the checkpoint and checking it against transformers"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "rows.txt"]


def test_the_gate_sees_one_wrong_weight_and_one_wrong_id(tmp_path: Path) -> None:
    """A gate that cannot fail would be none."""
    checkpoint = load_checkpoint(build(KINDS["bert"], tmp_path / "model"), probed=True)
    gate(checkpoint)
    with torch.no_grad():
        checkpoint.model.layers[0].attention.value.bias[0] += 0.5  # type: ignore[union-attr]
    with pytest.raises(ParityError, match="differs from transformers"):
        gate(checkpoint)
    spoilt = replace(checkpoint.probes[0], answers=(replace(checkpoint.probes[0].answers[0], ids=(2, 5, 3)),))
    with pytest.raises(CheckpointError, match="has other ids in transformers"):
        inputs_of([spoilt], checkpoint.reading, checkpoint.task)


def test_logits_of_thousands_pass_the_service_s_check_too(tmp_path: Path) -> None:
    """A regression whose logits are about a thousand is compressed, and served."""
    from pgb_core.inference.runtimes.base import Setup
    from pgb_core.inference.runtimes.onnx_runtime import OnnxRuntime
    from pgb_core.inference.runtimes.selfcheck import self_check

    dense(KINDS["bert-regression-of-thousands"], tmp_path)
    artifact = open_artifact(tmp_path / "out")
    assert artifact.manifest.measured["text_parity"]["allowed"] > 0.05
    assert self_check(OnnxRuntime(artifact, Setup(threads=1)), artifact) < 0.1
