"""What is kept of a run: whole or absent, for its own settings alone, for one job at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pgb_core.artifact import CARD, open_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, ConfigError, PGBError, ResourceError
from pgb_core.export.parity import Parity
from pgb_core.methods import method_of
from pgb_core.pipeline import compress
from pgb_core.progress.report import Report
from pgb_core.run.inputs import Inputs
from pgb_core.run.judge import Judge
from pgb_core.run.output import check_place
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace, check_space, locked
from pgb_core.tasks.features import Features
from tests.core.small import checkpoint, settings
from tests.reports import Heard

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An open one, and what it warned of."""
    (tmp_path / "work").mkdir()
    found = Workspace(tmp_path / "work", lambda text: said.append(text))
    said.clear()
    return found


said: list[str] = []


def test_a_stage_is_kept_under_what_it_depends_on(workspace: Workspace) -> None:
    """Another digest is another stage; three stand side by side, and the oldest makes room."""
    workspace.save_tensors("scores", KEY, {"x": torch.arange(3)})
    assert torch.equal(workspace.tensors("scores", KEY)["x"], torch.arange(3))  # type: ignore[index]
    assert workspace.tensors("scores", OTHER) is None
    workspace.save_tensors("scores", OTHER, {"x": torch.arange(4)})
    assert torch.equal(workspace.tensors("scores", KEY)["x"], torch.arange(3))  # type: ignore[index]
    workspace.save_tensors("scores", KEY, {"x": torch.arange(5)})
    assert torch.equal(workspace.tensors("scores", KEY)["x"], torch.arange(5))  # type: ignore[index]
    os.utime(next(workspace.path.glob(f"scores-{OTHER[:16]}*")), (1, 1))
    for name in "cd":
        workspace.save_tensors("scores", name * 64, {"x": torch.arange(6)})
    assert workspace.tensors("scores", OTHER) is None
    assert all(workspace.size("scores", key) for key in (KEY, "c" * 64, "d" * 64))
    workspace.save_text("plan", KEY, "{}")
    assert workspace.stages() == ["plan", "scores"]
    assert workspace.text("plan", KEY) == "{}"
    workspace.clear()
    assert workspace.stages() == []
    assert said == []


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_damaged_state_is_named_and_left_out(damage: str, workspace: Workspace) -> None:
    """Whatever happened to it: a warning with its name, and the stage counts as not done."""
    workspace.save_tensors("scores", KEY, {"x": torch.arange(300)})
    path = next(workspace.path.glob("scores-*"))
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[-5] ^= 1
    path.write_bytes({"cut": content[:100], "bit": content, "empty": b""}[damage])
    assert workspace.tensors("scores", KEY) is None
    assert str(path) in said[0]
    assert "left out" in said[0]
    workspace.save_tensors("scores", KEY, {"x": torch.arange(300)})
    assert workspace.tensors("scores", KEY) is not None
    (workspace.path / "run.json").write_text("{")
    assert workspace.run() == {}
    assert "run.json: damaged and left out" in said[-1]


def test_a_write_that_fails_leaves_what_was_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage before is still whole, and no part of a file is left."""
    workspace.save_text("plan", KEY, "kept")

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pgb_core.run.workspace.os.replace", full)
    with pytest.raises(ResourceError, match=r"the disk is full.* make room, and the same command goes on"):
        workspace.save_text("plan", KEY, "new")
    assert workspace.text("plan", KEY) == "kept"
    assert len(list(workspace.path.iterdir())) == 1


HOLDER = """
import sys
from pathlib import Path
from pgb_core.run.workspace import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_job_holds_an_output(tmp_path: Path) -> None:
    """A second is refused at once; a killed one holds nothing."""
    out = tmp_path / "small"
    command = [sys.executable, "-c", HOLDER, str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another job is writing to this --out"), locked(out):
            pass
        holder.kill()
    with locked(out) as mine:
        assert mine.path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_found_out_first(tmp_path: Path) -> None:
    """By what is free and what is needed."""
    with pytest.raises(ResourceError, match=r"GB are free and the run needs 1000000\.00 GB"):
        check_space(tmp_path, 10**15)
    check_space(tmp_path, 10)


def test_places_that_an_artifact_must_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command runs or above it; the checkpoint, in it, above it; a file; a link; a mount point."""
    model = tmp_path / "models" / "mine"
    model.mkdir(parents=True)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for out in (".", "..", here, tmp_path, "/"):
        with pytest.raises(ConfigError, match="the directory that this command runs in, or above it"):
            check_place(out, model)
    for out in (model, model / "small", tmp_path / "models", "../models/../models/mine"):
        with pytest.raises(ConfigError, match="the checkpoint's directory, inside it or above it"):
            check_place(out, model)
    (here / "file").write_text("")
    (here / "link").symlink_to(tmp_path / "nowhere")
    for out in ("file", "link"):
        with pytest.raises(ArtifactError, match="is no artifact"):
            check_place(out, model)
    with pytest.raises(ConfigError, match=r"ends in \.\., which is no name"):
        check_place("small/part/..", model)
    (here / "volume").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("os.path.ismount", lambda path: Path(path).name == "volume")
        with pytest.raises(ArtifactError, match="is a mount point, which cannot be replaced; name a directory in it"):
            check_place("volume", model)
        check_place("volume/small", model)
    check_place("small", model)
    check_place(tmp_path / "models" / "small", "owner/name")


@pytest.mark.slow
def test_an_artifact_is_replaced_by_force_alone(tmp_path: Path, texts: Path) -> None:
    """Without, the run ends before the checkpoint is read, and the artifact stays."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    first = compress(settings(model, tmp_path / "small", texts, epochs=0.0))
    told = Heard()
    with pytest.raises(ArtifactError, match="holds an artifact; --force replaces it"):
        compress(settings(model, tmp_path / "small", texts, epochs=0.0, seed=1), told)
    assert told.stages == []
    assert open_artifact(first.path).digest == first.digest
    second = compress(settings(model, tmp_path / "small", texts, epochs=0.0, seed=1, force=True))
    assert open_artifact(first.path).digest == second.digest != first.digest
    assert not list(tmp_path.glob(".small*"))


@pytest.mark.slow
def test_work_outlives_a_file_that_appears_in_its_place(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends without an artifact; the next takes every stage over and does none again."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    out = tmp_path / "small"

    class Careless(Heard):
        def stage(self, title: str, total: int | None = None) -> None:
            super().stage(title, total)
            if title.startswith("Exporting"):
                out.mkdir()
                (out / "mine").write_text("")

    with pytest.raises(ArtifactError, match="is no artifact"):
        compress(settings(model, out, texts), Careless())
    assert (tmp_path / ".small.work").is_dir()
    (out / "mine").unlink()
    told = Heard()
    monkeypatch.setattr("pgb_core.methods.steps.score.fisher", None)
    monkeypatch.setattr("pgb_core.methods.steps.recover.compensate", None)
    resumed = compress(settings(model, out, texts), told)
    assert "taken over from a stopped run: compensated, finetuned, plan, scores" in told.notes
    monkeypatch.undo()
    straight = compress(settings(model, tmp_path / "straight", texts))
    # The card says the name, which is that of the directory.
    assert {**resumed.manifest.files, CARD: ""} == {**straight.manifest.files, CARD: ""}
    assert not (tmp_path / ".small.work").exists()


@pytest.mark.slow
def test_other_settings_take_over_what_fits(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More epochs keep scores, plan and compensation; another share keeps the scores; --no-resume keeps nothing."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    out = tmp_path / "small"

    def failing(*_: object, **__: object) -> None:
        raise ResourceError("full")

    for changes, wanted in (
        ({}, []),
        ({"epochs": 1.0}, ["taken over from a stopped run: compensated, plan, scores"]),
        ({"epochs": 1.0, "keep": 0.6}, ["taken over from a stopped run: scores"]),
        ({}, ["taken over from a stopped run: compensated, finetuned, plan, scores"]),
        ({"epochs": 1.0, "keep": 0.6, "resume": False}, []),
    ):
        told = Heard()
        with monkeypatch.context() as patch:
            patch.setattr("pgb_core.pipeline.write", failing)
            with pytest.raises(ResourceError, match="full"):
                compress(settings(model, out, texts, **changes), told)
        assert [note for note in told.notes if "taken over" in note] == wanted


def test_a_run_that_had_just_written_its_artifact_is_done(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the swap and the end: --resume returns what stands there; other settings are refused."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    out = tmp_path / "small"

    class KilledError(BaseException):
        pass

    def killed(self: Workspace) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "finish", killed)
        with pytest.raises(KilledError):
            compress(settings(model, out, texts))
    digest = open_artifact(out).digest
    with pytest.raises(PGBError, match="holds an artifact"):
        compress(settings(model, out, texts, seed=3))
    with pytest.raises(PGBError, match="holds an artifact"):
        compress(settings(model, out, texts, forms=("fp32", "torch")))
    told = Heard()
    assert compress(settings(model, out, texts), told).digest == digest
    assert "Scoring every weight" not in told.stages
    assert any("had just written it" in note for note in told.notes)
    assert not (tmp_path / ".small.work").exists()


@pytest.mark.parametrize("change", ["hidden_act", "layer_norm_eps", "num_attention_heads", "problem_type"])
def test_a_stage_of_another_model_is_not_taken_over(change: str, tmp_path: Path, texts: Path) -> None:
    """Equal weights under another config are another model: its scores are its own."""
    keys = []
    given = {"hidden_act": "relu", "layer_norm_eps": 1e-3, "num_attention_heads": 3}
    for n, value in enumerate((None, {**given, "problem_type": "multi_label_classification"}[change])):
        model = checkpoint(tmp_path / f"model{n}", "bert", "classification", **({change: value} if value else {}))
        config = CompressConfig(checkpoint=str(model), out=str(tmp_path / "out"), calibrate=str(texts), keep=0.4)
        loaded = load_checkpoint(model)
        rows = [Features([5, 6], [0, 0], None, 0)]
        parity = Parity(0, 0.0, 0.0, 0)
        with locked(tmp_path / "out") as workspace:
            judge = Judge(loaded, None, None, lambda: loaded.model, Report(), Shared(), "")  # noqa: B023
            run = Run(config, loaded, parity, Inputs(rows, rows), workspace, Report(), torch.device("cpu"), judge)
        keys.append((loaded.digest, method_of(config).stages(run)[0]))
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_a_place_without_files_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """And so is a name that a manifest cannot bear."""
    with pytest.raises(ResourceError, match="cannot be written"), locked(Path("/proc/small")):
        pass
    for name in ("a\tb", "a\u00a0b\n", os.fsdecode(b"caf\xe9")):
        with pytest.raises(ConfigError, match="the name must be printable text"):
            check_place(tmp_path / name, tmp_path / "model")


def test_who_finishes_removes_nobody_else_s_directory(tmp_path: Path) -> None:
    """The lock is given back once, and what was made for it goes."""
    out = tmp_path / "new" / "deeper" / "small"
    with locked(out) as first:
        first.save_text("plan", KEY, "{}")
        first.finish()
        assert first.path.is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(out) as second:
        second.save_text("plan", KEY, "{}")
    with locked(out) as third:
        assert third.text("plan", KEY) == "{}"


def test_what_a_run_said_of_itself_is_removed_after_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed while it tidies up is then known to have written the artifact that stands there."""
    gone: list[str] = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **how: (gone.append(path.name), unlink(path, **how))[1])
    with locked(tmp_path / "out") as workspace:
        workspace.save_run({"published": "digest"})
        for stage in "abcd":
            workspace.save_text(stage, "key", "text")
        gone.clear()
        workspace.finish()
    assert gone[-2:] == ["run.json", "lock"]
    assert len(gone) >= 6
