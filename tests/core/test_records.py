"""What the stages of a run measured stands in the manifest, in the card and in `pgb inspect`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pgb_core import cli, pipeline
from pgb_core.artifact import CARD, Artifact, open_artifact
from pgb_core.commands.figures import held
from pgb_core.config import CompressConfig
from pgb_core.errors import ResourceError
from pgb_core.learn.finetune import Trainer
from pgb_core.pipeline import compress
from pgb_core.run import inputs, records
from pgb_core.run.records import Records
from pgb_core.run.workspace import Workspace
from tests.core.small import checkpoint
from tests.core.small import settings as usual


def settings(model: Path, out: Path, data: Path, **changes: object) -> CompressConfig:
    """A run that is quicker still."""
    nested = {} if changes.keys() & {"method", "keep"} else {"structure": "nested"}
    quick = {"epochs": 1.0, "samples": 32} | nested
    return usual(model, out, data, **(quick | changes))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small classifier."""
    return checkpoint(tmp_path / "model", "bert", "classification")


def test_every_stage_and_every_model_between_is_recorded(
    model: Path, tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a training the run ends with the model that the longer run had after compensation."""
    given = {"eval": str(texts)}
    measured = compress(settings(model, tmp_path / "small", texts, **given)).manifest.measured
    stages, between = measured["stages"], measured["stage_accuracy"]
    assert list(stages) == ["scores", "plan", "compensated", "finetuned"]
    assert all(found["seconds"] >= 0 for found in stages.values())
    assert stages["finetuned"]["steps"] > 1
    assert 0.4 < stages["plan"]["importance_kept"] < 1
    assert list(between) == ["dense", "pruned", "compensated", "finetuned", "rows"]
    assert between["rows"] == measured["accuracy"]["rows"] == 80
    assert between["dense"] == measured["accuracy"]["dense"]
    assert between["finetuned"] == measured["accuracy"]["compressed"]

    short = compress(settings(model, tmp_path / "short", texts, epochs=0.0, **given))
    less = short.manifest.measured["stage_accuracy"]
    assert less == {name: found for name, found in between.items() if name != "finetuned"}
    assert less["compensated"] == short.manifest.measured["accuracy"]["compressed"]

    assert cli.main(["inspect", str(tmp_path / "small")]) == 0
    said = capsys.readouterr().out
    assert f"stage plan: {stages['plan']['seconds']:.1f} s, keeps {stages['plan']['importance_kept']:.1%}" in said
    assert f", {stages['finetuned']['steps']:,} steps" in said
    assert f"model pruned, on 80 rows: accuracy {between['pruned']['accuracy']:.4g}" in said
    final = measured["accuracy"]
    for name in ("dense", "compressed"):
        assert f"final {name}, on 80 rows: accuracy {final[name]['accuracy']:.4g}" in said
    for name, record in open_artifact(tmp_path / "small").manifest.forms.items():
        size = (tmp_path / "small" / record.file).stat().st_size
        assert f"form {name}: {size / 1e6:.1f} MB, {held(record.measured, True)}" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    card = (tmp_path / "small" / CARD).read_text("utf-8")
    assert f"| importance that the plan keeps | {stages['plan']['importance_kept']:.1%} |" in card
    assert f"| pruned | {between['pruned']['accuracy']:.4g} |" in card


def test_models_between_stages_are_scored_on_some_of_many_rows(
    model: Path, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same rows all of them."""
    monkeypatch.setattr(inputs, "some", lambda rows, count: rows.picked(range(0, len(rows.rows), 10)))
    measured = compress(settings(model, tmp_path / "small", texts, eval=str(texts))).manifest.measured
    some = [line for n, line in enumerate(texts.read_text().splitlines(keepends=True)) if n % 10 == 0]
    (tmp_path / "some.jsonl").write_text("".join(some))
    monkeypatch.undo()
    again = compress(settings(model, tmp_path / "again", texts, eval=str(tmp_path / "some.jsonl"))).manifest.measured
    assert measured["stage_accuracy"] == again["stage_accuracy"]
    assert measured["stage_accuracy"]["rows"] == 8
    assert measured["accuracy"]["rows"] == 80


def test_without_rows_to_judge_by_no_model_is_scored(model: Path, tmp_path: Path, texts: Path) -> None:
    """Stages have their seconds all the same; the whole model has no stages at all."""
    measured = compress(settings(model, tmp_path / "small", texts, epochs=0.0)).manifest.measured
    assert "stage_accuracy" not in measured
    assert list(measured["stages"]) == ["scores", "plan", "compensated"]
    whole = compress(settings(model, tmp_path / "whole", texts, keep=1.0, epochs=0.0, eval=str(texts)))
    assert whole.manifest.measured["stages"] == {}
    assert "stage_accuracy" not in whole.manifest.measured


def test_methods_that_train_first_record_that_too(model: Path, tmp_path: Path, texts: Path) -> None:
    """The model that they cut is the pruned one."""
    asked = settings(model, tmp_path / "small", texts, method="movement", epochs=2.0, eval=str(texts))
    measured = compress(asked).manifest.measured
    assert list(measured["stages"]) == ["shaped", "plan", "finetuned"]
    assert measured["stages"]["shaped"]["steps"] > measured["stages"]["finetuned"]["steps"] > 0
    assert list(measured["stage_accuracy"]) == ["dense", "pruned", "finetuned", "rows"]


def test_a_run_that_goes_on_knows_what_was_measured_before(
    model: Path, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages that are kept are not timed again, and nothing of them changes."""
    config = settings(model, tmp_path / "small", texts, eval=str(texts))
    told: list[Mapping[str, Any]] = []

    def full(out: object, made: Any, ready: object) -> Artifact:
        told.append(made.measured)
        raise ResourceError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write", full)
        for _ in range(2):
            with pytest.raises(ResourceError):
                compress(config)
    assert told[0]["stages"] == told[1]["stages"] == compress(config).manifest.measured["stages"]
    assert told[0]["stage_accuracy"] == told[1]["stage_accuracy"]


def test_a_training_that_is_taken_up_adds_its_seconds(
    model: Path, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To those of the run that was stopped; its steps are those of both."""
    config = settings(model, tmp_path / "small", texts)
    whole = Trainer.run

    def once(trainer: Trainer, *given: Any) -> None:
        if trainer.step:
            raise KeyboardInterrupt
        whole(trainer, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", once)
        with pytest.raises(KeyboardInterrupt):
            compress(config)
    path = tmp_path / ".small.work" / "records.json"
    kept = json.loads(path.read_text())
    assert [found["steps"] for found in kept.values() if "steps" in found] == [3]  # checkpoint_every
    path.write_text(json.dumps({key: {**found, "seconds": 1000.0} for key, found in kept.items()}))
    measured = compress(config).manifest.measured
    stages = measured["stages"]
    assert [stages[name]["seconds"] for name in ("scores", "plan", "compensated")] == [1000.0] * 3
    assert 1000 < stages["finetuned"]["seconds"] < 2000
    assert 4000 < measured["seconds"] < 5000
    assert stages["finetuned"]["steps"] > 3


def test_a_stage_within_a_stage_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outer one has its own seconds alone, whatever comes after."""
    times: Iterator[float] = iter([0, 1, 4, 10, 100, 102])
    monkeypatch.setattr(records.time, "perf_counter", lambda: next(times))
    found = Records(Workspace(tmp_path))
    found.timed("outer", lambda: found.timed("inner", lambda: None))
    found.timed("next", lambda: None)
    assert [found.of(name)["seconds"] for name in ("outer", "inner", "next")] == [7, 3, 2]
    found.add("outer", steps=5)
    assert Records(Workspace(tmp_path)).of("outer") == {"seconds": 7, "steps": 5}
    assert found.of("unknown") == {}


def test_a_damaged_record_is_left_out_in_words(tmp_path: Path) -> None:
    """The work itself is not touched by it."""
    said: list[str] = []
    workspace = Workspace(tmp_path, said.append)
    workspace.save_record("key", {"seconds": 1.0})
    (tmp_path / "records.json").write_text("{")
    assert workspace.record("key") == {}
    assert "damaged and left out" in said[0]
    workspace.save_record("key", {"seconds": 2.0})
    assert workspace.record("key") == {"seconds": 2.0}
    workspace.clear()
    assert workspace.record("key") == {}
