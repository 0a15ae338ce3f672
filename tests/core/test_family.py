"""Several sizes in one run, each from the one before it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from pgb_core.artifact import CARD, open_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.cli import main
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, ConfigError
from pgb_core.family import family
from pgb_core.learn.finetune import Trainer
from pgb_core.methods.steps import score
from pgb_core.model.encoder import Encoder
from pgb_core.model.rebuild import encoder_of
from pgb_core.model.surgery import expanded
from pgb_core.pipeline import compress
from pgb_core.plan import Plan
from pgb_core.progress.report import Report
from pgb_core.tasks.classification import SingleLabel
from pgb_core.tasks.features import Batch
from tests.core.small import changed, checkpoint, settings
from tests.reports import Heard

SIZES = (0.5, 0.25)


def quick(tmp_path: Path, out: str, data: Path, **changes: object) -> CompressConfig:
    """Settings of a family of two sizes of a model of two layers."""
    model = tmp_path / "model"
    if not model.exists():
        checkpoint(model, "bert", "classification", num_hidden_layers=2)
    few: dict[str, object] = {"keep": SIZES, "samples": 16, "epochs": 1.0, "checkpoint_every": 2}
    few |= {} if "method" in changes else {"structure": "nested"}
    return settings(model, tmp_path / out, data, **(few | changes))


def test_each_size_is_made_from_the_one_before_and_told_against_the_dense_model(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans, weights and metrics are of the dense checkpoint. The second size begins with the first one's weights, and
    is scored by labels that are drawn from the dense model's predictions.
    """
    sources: list[Encoder] = []
    agreed: list[bool] = []
    config = quick(tmp_path, "sizes", texts, keep=[0.25, 0.5], eval=str(texts), forms="fp32,torch")
    dense = load_checkpoint(tmp_path / "model")
    scored = score.fisher

    def seen(model: Encoder, batches: Iterable[Batch], *given: Any) -> Any:
        kept = list(batches)
        sources.append(model)
        with torch.no_grad():
            answers = [dense.model(batch.input_ids, batch.attention_mask).argmax(1) for batch in kept]
        agreed.append(all(torch.equal(b.targets, answer) for b, answer in zip(kept, answers, strict=True)))
        return scored(model, kept, *given)

    monkeypatch.setattr(score, "fisher", seen)
    monkeypatch.setattr(SingleLabel, "draw", lambda self, logits, mask, generator: logits.argmax(1))
    found = family(config, Report())
    assert [artifact.path.name for artifact in found] == ["keep-0.5", "keep-0.25"]
    for artifact, size in zip(found, SIZES, strict=True):
        manifest = open_artifact(artifact.path).manifest
        plan = Plan.from_json(artifact.plan.read_text())
        assert plan.checkpoint == dense.digest == manifest.provenance["checkpoint_sha256"]
        assert plan.dense_cost == manifest.weights["dense"]
        assert manifest.weights["kept"] / manifest.weights["dense"] == pytest.approx(size, abs=0.01)
        assert manifest.provenance["settings"]["keep"] == size
        assert manifest.measured["accuracy"]["dense"] == found[0].manifest.measured["accuracy"]["dense"]
    assert "start" not in found[0].manifest.provenance
    assert found[1].manifest.provenance["start"] == {"keep": 0.5, "manifest_sha256": found[0].digest}
    first = expanded(encoder_of(found[0]), Plan.from_json(found[0].plan.read_text()))
    ids = torch.randint(4, 20, (3, 9))
    with torch.no_grad():
        torch.testing.assert_close(sources[1](ids), first(ids))
        assert not torch.allclose(sources[0](ids), first(ids))
    assert agreed == [False, True]


def test_every_stage_of_every_size_is_told_once(tmp_path: Path, texts: Path) -> None:
    """The size before is taken from its kept stages, without a word."""
    told = Heard()
    family(quick(tmp_path, "sizes", texts), told)
    assert "keep 0.5: re-finetuning" in told.stages
    assert sorted(told.stages) == sorted(set(told.stages))


def test_a_stopped_family_goes_on_with_the_size_that_it_was_at(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands is not made again, the training goes on from its last state, and the result is the same.

    The first size is what it is alone, and the scores of a student are not kept for other runs.
    """
    cache = tmp_path / "cache"
    straight = family(quick(tmp_path, "straight", texts, cache=cache), Report())
    assert len(list(cache.glob("scores-*"))) == 1
    alone = compress(quick(tmp_path, "alone", texts, keep=0.5, cache=cache))
    assert {**straight[0].manifest.files, CARD: ""} == {**alone.manifest.files, CARD: ""}
    out = tmp_path / "sizes"
    run = Trainer.run
    resumed: list[int] = []

    def stopped(self: Trainer, until: int | None = None, *given: Any) -> None:
        if (out / "keep-0.5").exists() and self.step == 2:
            raise KeyboardInterrupt
        run(self, until, *given)

    def seen(self: Trainer, until: int | None = None, *given: Any) -> None:
        resumed.append(self.step)
        run(self, until, *given)

    config = quick(tmp_path, "sizes", texts, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            family(config, Report())
    stood = open_artifact(out / "keep-0.5").digest
    assert not (out / "keep-0.25").exists()
    with pytest.raises(ConfigError, match="other settings or data"):
        family(config.model_copy(update={"resume": True, "force": True, "seed": 5}), Report())
    monkeypatch.setattr(Trainer, "run", seen)
    told = Heard()
    found = family(config.model_copy(update={"resume": True}), told)
    assert found[0].digest == stood
    assert resumed[0] == 2
    assert "keep 0.25: scoring every weight" not in told.stages
    for one, other in zip(found, straight, strict=True):
        assert {**one.manifest.files, CARD: ""} == {**other.manifest.files, CARD: ""}
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(ArtifactError, match="--force"):
        family(config, Report())


@pytest.mark.parametrize(
    ("file", "entry", "trains"),
    [
        ("config.json", {"id2label": {"0": "yes", "1": "no"}, "label2id": {"yes": 0, "no": 1}}, False),
        ("tokenizer_config.json", {"truncation_side": "left"}, False),
        ("tokenizer_config.json", {"model_max_length": 8}, True),
    ],
)
def test_sizes_of_one_family_are_of_one_model(
    file: str, entry: dict[str, object], trains: bool, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where labels or tokenizer changed after a stop, a size that stands is refused; with --force it is written anew,
    from what was trained where that is the same.
    """
    out, run = tmp_path / "sizes", Trainer.run
    config = quick(tmp_path, "sizes", texts, labels="ids")
    trained: list[int] = []

    def stopped(*given: Any) -> None:
        raise RuntimeError

    def seen(self: Trainer, until: int | None = None, *given: Any) -> None:
        trained.append(self.step)
        run(self, until, *given)

    monkeypatch.setattr(Trainer, "run", seen)
    monkeypatch.setattr("pgb_core.family._start", stopped)
    with pytest.raises(RuntimeError):
        family(config, Report())
    stood = open_artifact(out / "keep-0.5").manifest
    changed(tmp_path / "model" / file, **entry)
    with pytest.raises(ArtifactError, match=r"keep-0\.5: holds an artifact; --force replaces it"):
        family(config, Report())
    trained.clear()
    with pytest.raises(RuntimeError):
        family(config.model_copy(update={"force": True}), Report())
    found = open_artifact(out / "keep-0.5")
    checkpoint = load_checkpoint(tmp_path / "model")
    assert (found.manifest.labels, found.manifest.max_length) == (checkpoint.labels, checkpoint.max_length)
    assert found.tokenizer.read_bytes() == checkpoint.reading.file()
    assert bool(trained) is trains
    assert trains or found.manifest.files["model.onnx"] == stood.files["model.onnx"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keep": "0.5,0.5"}, "each once"),
        ({"keep": "1,0.5"}, "below 1"),
        ({"keep": "0.5,0.001"}, "from 0.01"),
        ({"keep": "half"}, "shares separated by commas"),
        ({"keep": [0.5, "a"]}, "shares separated by commas"),
        (
            {"keep": "0.5,0.25", "units_by": "reconstruction"},
            "pgb, as set, cannot start from a model that is compressed already",
        ),
        (
            {"keep": "0.5,0.25", "method": "magnitude"},
            "magnitude, as set, cannot start from a model that is compressed already",
        ),
    ],
)
def test_sizes_that_make_no_family_are_refused(changes: dict[str, Any], said: str) -> None:
    """Before any work, with the remedy."""
    with pytest.raises(ConfigError, match=said):
        CompressConfig(checkpoint="c", out="o", train="t", **changes)


def test_further_sizes_may_be_a_list() -> None:
    """As a file of settings has them."""
    assert CompressConfig(checkpoint="c", out="o", train="t", keep=0.5, further=[0.25]).sizes == SIZES


def test_one_size_in_a_list_is_one_size() -> None:
    """And several are put in order."""
    base: dict[str, Any] = {"checkpoint": "c", "out": "o", "train": "t"}
    assert CompressConfig(**base, keep=[0.5]).sizes == (0.5,)
    assert CompressConfig(**base, keep="0.25").sizes == (0.25,)
    assert CompressConfig(**base, keep="0.12, 0.5,0.25").sizes == (0.5, 0.25, 0.12)
    with pytest.raises(ConfigError, match="for several use"):
        compress(CompressConfig(**base, keep=[0.5, 0.25]))


def test_a_method_that_trains_for_int8_starts_from_a_student_too(tmp_path: Path, texts: Path) -> None:
    """Both sizes stand."""
    told = Heard()
    found = family(quick(tmp_path, "sizes", texts, method="q8bert", epochs=0.5, best_state=True), told)
    # Once for each size, though the next one takes the trained model up again.
    assert [text.partition(":")[0] for text in told.warnings if "--best-state" in text] == ["keep 0.5", "keep 0.25"]
    assert [artifact.manifest.provenance["settings"]["method"] for artifact in found] == ["q8bert", "q8bert"]


def test_the_command_prints_each_size_and_refuses_a_place_that_is_taken(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Span scores too. Nothing is done when one of the places holds an artifact, or all of them may not be written."""
    model = checkpoint(tmp_path / "model", "bert", "qa", num_hidden_layers=2)
    given = ["compress", str(model), "--train", str(questions), "--trust-labels", "--epochs", "0.5", "--samples", "16"]
    given += ["--structure", "nested", "--forms", "fp32", "--keep", "0.5,0.25", "--out"]
    assert main([*given, str(tmp_path / "sizes")]) == 0
    printed = capsys.readouterr().out
    for size in SIZES:
        assert f"{tmp_path / 'sizes' / f'keep-{size}'}: " in printed
    assert main([*given, str(tmp_path / "sizes" / "keep-0.5")]) == 1
    assert "is no directory for several artifacts" in capsys.readouterr().err
    (tmp_path / "other" / "keep-0.25").mkdir(parents=True)
    (tmp_path / "other" / "keep-0.25" / "notes.txt").write_text("mine")
    assert main([*given, str(tmp_path / "other")]) == 1
    assert "is no artifact; choose another --out" in capsys.readouterr().err
    assert not (tmp_path / "other" / "keep-0.5").exists()
