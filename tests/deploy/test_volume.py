"""A folder of models as a volume gives it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.errors import LoadFailed
from service.settings import Settings


@pytest.fixture
def volume(artifacts: tuple[Path, Path], tmp_path: Path) -> Path:
    """One artifact, beside what a file system and Kubernetes put there."""
    for other in ("lost+found", "..2026_01_01", ".snapshot"):
        (tmp_path / other).mkdir()
    shutil.copytree(artifacts[0], tmp_path / "mood")
    return tmp_path


def test_what_belongs_to_the_volume_is_no_model(volume: Path) -> None:
    """The artifact alone is served."""
    with TestClient(create_app(Settings(models_dir=volume, threads=1))) as client:
        assert [model["name"] for model in client.get("/health").json()["models"]] == ["mood"]


def test_a_folder_without_an_artifact_fails_the_start_and_is_named(volume: Path) -> None:
    """A model that did not arrive whole must not be missing in silence."""
    (volume / "half").mkdir()
    with (
        pytest.raises(LoadFailed, match="half: holds no artifact"),
        TestClient(create_app(Settings(models_dir=volume))),
    ):
        pass
