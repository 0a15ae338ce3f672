"""Stages that outlive a run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from pgb_core.artifact import CARD
from pgb_core.compare.config import CompareConfig
from pgb_core.compare.run import compare
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.family import family
from pgb_core.learn import teacher as teaching
from pgb_core.learn.finetune import Trainer
from pgb_core.learn.teacher import Teacher
from pgb_core.pipeline import cache_of, compress, forecast
from pgb_core.progress.report import Report
from pgb_core.run.cache import LEFT_SECONDS, Cache, usual_place
from pgb_core.run.output import check_place
from pgb_core.run.shared import MOST_KEPT, Shared
from pgb_core.seek.run import seek
from pgb_core.tasks.features import Features, collate
from tests.conftest import TASKS, small_encoder
from tests.core.small import checkpoint, settings
from tests.reports import Heard

VALUES = {"a": torch.arange(6.0).view(2, 3)}
KEY, OTHER = "a" * 64, "b" * 64


def test_what_is_saved_is_found_under_its_own_digest(tmp_path: Path) -> None:
    """Equal values; nothing under another digest, nor in another place."""
    cache = Cache(tmp_path / "cache")
    assert cache.tensors("scores", KEY) is None
    cache.save("scores", KEY, VALUES)
    found = cache.tensors("scores", KEY)
    assert found is not None
    assert torch.equal(found["a"], VALUES["a"])
    assert cache.tensors("scores", OTHER) is None
    assert cache.tensors("plan", KEY) is None


def test_what_is_saved_again_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    """One file of a stage, whose size is that of a sound one."""
    cache = Cache(tmp_path)
    assert cache.size("scores", KEY) == 0
    for count in (4, 8):
        cache.save("scores", KEY, {"a": torch.zeros(count)})
    (path,) = tmp_path.glob("scores-*")
    assert cache.size("scores", KEY) == path.stat().st_size > 32
    path.write_bytes(b"damaged")
    assert cache.size("scores", KEY) == 0


def test_a_user_without_a_home_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor has one who says so: an empty PGB_CACHE means what an empty --cache means."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("PGB_CACHE", "")
    assert usual_place() is None
    monkeypatch.delenv("PGB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_place() == tmp_path / "pgb-serve"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert usual_place() is None
    assert cache_of(settings(tmp_path / "model", tmp_path / "small", tmp_path / "texts")) is None


def test_a_cache_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    """And not left out in silence."""
    (tmp_path / "file").write_text("")
    config = settings(tmp_path / "model", tmp_path / "small", tmp_path / "texts", cache=str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="is no directory; name one, or leave --cache out"):
        compress(config)


@pytest.mark.parametrize("inner", ["", "cache"])
@pytest.mark.parametrize("further", [(), (0.25,)])
def test_a_cache_in_the_place_of_an_artifact_is_refused_before_any_work(
    inner: str, further: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The artifact could not be put there at the end. By the setting or the variable; of several sizes, any place."""
    out = tmp_path / "small"
    place = out / (f"keep-{further[0]}" if further else "") / inner
    given = {"keep": 0.5, "further": further, "cache": str(place)}
    config = settings(tmp_path / "model", out, tmp_path / "texts", **given)
    make = family if further else compress
    with pytest.raises(ConfigError, match=r"--cache .*: is the place of an artifact, .*or in it; name a directory"):
        make(config, Report())
    with pytest.raises(ConfigError, match="is the place of an artifact"):
        forecast(config, Report())
    monkeypatch.setenv("PGB_CACHE", str(place))
    usual = config.model_copy(update={"cache": None})
    with pytest.raises(ConfigError, match=r"PGB_CACHE or XDG_CACHE_HOME: the cache .* is the place of an artifact"):
        make(usual, Report())
    sought = CompressConfig(checkpoint="model", out=place, train="rows", eval="rows", max_drop=1.0)
    with pytest.raises(ConfigError, match="is the place of an artifact"):
        seek(sought, Report())
    compared = CompareConfig(checkpoint="model", train="rows", eval="rows", out=out, cache=str(out / "pgb-50" / inner))
    with pytest.raises(ConfigError, match="is the place of an artifact"):
        compare(compared, Report())
    assert not out.exists()
    check_place(out, "owner/name", str(tmp_path))
    check_place(out, "owner/name", str(tmp_path / "small-cache"))


def test_a_cache_that_is_only_readable_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it cannot be noted when a file was used; and the file stays."""
    cache = Cache(tmp_path / "cache")
    cache.save("scores", KEY, VALUES)

    def refused(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "utime", refused)
    assert cache.tensors("scores", KEY) is not None
    assert cache.size("scores", KEY)


def test_a_damaged_file_is_no_stage(tmp_path: Path) -> None:
    """It goes, and the stage is done again."""
    cache = Cache(tmp_path)
    cache.save("scores", KEY, VALUES)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    assert cache.tensors("scores", KEY) is None
    assert not list(tmp_path.iterdir())


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    """Within the room there is; what is larger than all of it is not kept."""
    one = {"a": torch.zeros(1000)}
    cache = Cache(tmp_path, most=10_000)
    for age, key in ((30, KEY), (20, OTHER)):
        cache.save("scores", key, one)
        newest = max(tmp_path.iterdir(), key=os.path.getmtime)
        os.utime(newest, (newest.stat().st_mtime - age,) * 2)
    assert cache.tensors("scores", KEY) is not None  # used now
    cache.save("scores", "c" * 64, one)
    assert cache.tensors("scores", OTHER) is None
    assert cache.tensors("scores", KEY) is not None
    cache.save("scores", "d" * 64, {"a": torch.zeros(10_000)})
    assert cache.tensors("scores", "d" * 64) is None


def test_files_of_others_never_go(tmp_path: Path) -> None:
    """A cache may be put where weights lie, which are older and larger than all that there is room for."""
    theirs = [tmp_path / name for name in ("model.safetensors", f"model-{KEY[:32]}.safetensors")]
    for path in theirs:
        path.write_bytes(b"w" * 20_000)
        os.utime(path, (0, 0))
    cache = Cache(tmp_path, most=10_000)
    cache.save("scores", KEY, VALUES)
    assert all(path.exists() for path in theirs)
    assert cache.tensors("scores", KEY) is not None


def test_a_place_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    """A run goes on without."""
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    cache.save("scores", KEY, VALUES)
    assert cache.tensors("scores", KEY) is None


@pytest.mark.parametrize("kept", [True, False])
def test_another_size_of_the_same_model_does_not_score_again(kept: bool, tmp_path: Path, texts: Path) -> None:
    """The plan is the one that it would have had; without a cache the weights are scored again."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    said: dict[float, list[str]] = {}
    for keep in (0.5, 0.4):
        told = Heard()
        config = CompressConfig(
            checkpoint=str(model),
            out=str(tmp_path / f"out-{keep}"),
            calibrate=str(texts),
            keep=keep,
            samples=16,
            trust_labels=True,
            epochs=0,
            forms="fp32",
            cache=str(tmp_path / "cache") if kept else "",
        )
        compress(config, told)
        said[keep] = told.everything
    assert "Scoring every weight" in said[0.5]
    assert ("Scoring every weight" in said[0.4]) is not kept
    assert ("scores: known from a run before" in said[0.4]) is kept


def test_a_teacher_s_outputs_are_those_of_the_run_before(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another size asks the dense model for none of them, and becomes what it would be without the cache."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    cache = tmp_path / "cache"
    quick = {"structure": "nested", "samples": 16, "epochs": 1.0}
    compress(settings(model, tmp_path / "first", texts, **quick, keep=0.5, cache=str(cache)))
    (kept,) = cache.glob("teacher-*")
    plain = compress(settings(model, tmp_path / "plain", texts, **quick, cache=""))
    asked: list[int] = []
    monkeypatch.setattr(Teacher, "learn", lambda *given: asked.append(1))
    told = Heard()
    found = compress(settings(model, tmp_path / "second", texts, **quick, cache=str(cache)), told)
    assert not asked
    assert "outputs of the dense model: known from a run before" in told.everything
    assert {**found.manifest.files, CARD: ""} == {**plain.manifest.files, CARD: ""}
    assert list(cache.glob("teacher-*")) == [kept]


def test_a_teacher_s_outputs_are_not_kept_where_memory_is_short(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write them takes copies of them, and a container would be killed for these when the training is done."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    cache = tmp_path / "cache"
    monkeypatch.setattr("pgb_core.run.run.free_memory", lambda: 1000)
    quick = {"structure": "nested", "samples": 16, "epochs": 1.0}
    compress(settings(model, tmp_path / "first", texts, **quick, keep=0.5, cache=str(cache)))
    assert list(cache.glob("scores-*"))
    assert not list(cache.glob("teacher-*"))


def test_more_of_a_teacher_s_outputs_take_the_place_of_fewer(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that knows more than is kept keeps that in its place; the same again writes nothing."""
    monkeypatch.setattr(teaching, "TOKENS", 128)
    model, found = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2), []
    quick = {"structure": "nested", "samples": 16, "epochs": 1.0, "cache": str(tmp_path / "cache")}
    for most in (100_000, 1 << 20, 1 << 20):
        monkeypatch.setattr("pgb_core.run.run.TEACHER_BYTES", most)
        compress(settings(model, tmp_path / f"after-{len(found)}", texts, **quick))
        (kept,) = (tmp_path / "cache").glob("teacher-*")
        found.append((kept.name, kept.stat().st_size))
    assert 0 < found[0][1] < found[1][1]
    assert found[1] == found[2]


@pytest.mark.parametrize("task", TASKS)
def test_as_many_of_a_teacher_s_outputs_are_kept_as_there_is_room_for(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole groups of inputs, and only those that are known; without room none."""
    monkeypatch.setattr(teaching, "TOKENS", 256)
    dense = small_encoder("bert", task)
    data = [Features([2, *[5 + n % 7] * (2 + n), 3], [0] * (4 + n), 0, n) for n in range(40)]
    teacher = Teacher(dense, data)
    assert teacher.state(1 << 30) == {}
    with torch.no_grad():
        teacher(data, collate(data, 0))
    whole = teacher.state(1 << 30)
    size = sum(value.nbytes for value in whole.values())
    part = teacher.state(size - 1)
    assert 0 < len(part["states"]) < len(whole["states"]) == sum(len(item.ids) for item in data)
    assert teacher.state(0) == {}
    other = Teacher(dense, data)
    other.restore(part)
    assert other.kept == sum(value.nbytes for value in part.values())
    with torch.no_grad():
        first = [
            item for n, item in enumerate(data) if sum(len(one.ids) for one in data[: n + 1]) <= len(part["states"])
        ]
        again, states = other(first, collate(first, 0))
        wanted, goals = teacher(first, collate(first, 0))
    assert torch.equal(again, wanted)
    assert all(torch.equal(states[index], goal) for index, goal in goals.items())


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    """After a while, as another run may be saving."""
    cache, stage = Cache(tmp_path, 1000), {"a": torch.zeros(4)}
    old, now, other = ".new-old_left", ".new-now_made", ".new-weights"
    for name, age in ((old, 2 * LEFT_SECONDS), (now, 0.0), (other, 2 * LEFT_SECONDS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stage").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    cache.save("scores", "k" * 64, stage)
    assert {path.name for path in tmp_path.glob(".new-*")} == {now, other}


def test_of_too_much_what_was_used_longest_ago_is_made_again() -> None:
    """What every run asks for stays."""
    shared, made = Shared(None), list[str]()

    def ask(key: str) -> None:
        shared.once(key, lambda: made.append(key))

    for n in range(2 * MOST_KEPT):
        ask("all")
        ask(f"own {n}")
    ask("own 0")
    assert made.count("all") == 1
    assert made.count("own 0") == 2


def test_a_run_that_goes_on_keeps_as_much_of_a_teacher_as_before(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is rounded: with more memory free than before, it would learn from other numbers."""
    monkeypatch.setattr(teaching, "TOKENS", 128)
    model, quick = checkpoint(tmp_path / "model", "bert", "classification"), {"structure": "nested", "epochs": 1.0}
    rooms, stop = iter([20_000, 1 << 30]), iter([True])

    def interrupted(trainer: Trainer, *args: Any, **more: Any) -> None:
        if next(stop, False):
            raise KeyboardInterrupt
        original(trainer, *args, **more)

    original = Trainer.run
    monkeypatch.setattr(teaching, "room", lambda device: next(rooms))
    monkeypatch.setattr(Trainer, "run", interrupted)
    config = settings(model, tmp_path / "out", texts, **quick, cache="")
    with pytest.raises(KeyboardInterrupt):
        compress(config)
    files = [compress(config).manifest.files["model.onnx"]]
    for most in (20_000, 1 << 30):
        monkeypatch.setattr(teaching, "room", lambda device, most=most: most)
        other = settings(model, tmp_path / f"room-{most}", texts, **quick, cache="")
        files.append(compress(other).manifest.files["model.onnx"])
    assert files[0] == files[1] != files[2]
