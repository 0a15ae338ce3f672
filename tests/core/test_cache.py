"""Stages that outlive a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pgb_core.config import CompressConfig
from pgb_core.pipeline import compress
from pgb_core.progress.report import Report
from pgb_core.run.cache import Cache
from tests.core.small import checkpoint

VALUES = {"a": torch.arange(6.0).view(2, 3)}
KEY, OTHER = "a" * 64, "b" * 64


class Told(Report):
    """Remembers titles and notes."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None:
        """See Report."""
        self.said.append(title)

    def note(self, text: str) -> None:
        """See Report."""
        self.said.append(text)


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
        told = Told()
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
        said[keep] = told.said
    assert "Scoring every weight" in said[0.5]
    assert ("Scoring every weight" in said[0.4]) is not kept
    assert ("scores: known from a run before" in said[0.4]) is kept
