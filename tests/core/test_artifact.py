"""Artifacts: written whole, opened only if every hash holds and every path stays inside."""

import json
from pathlib import Path
from typing import Any

import pytest

from pgb_core.artifact import Artifact, Manifest, open_artifact, update_measured, write_artifact
from pgb_core.errors import ArtifactError, ResourceError

FILES = {"model.onnx": b"graph", "tokenizer.json": b"{}", "plan.json": b"{}"}


def manifest(**changes: Any) -> Manifest:
    """A small, valid manifest."""
    settings: dict[str, Any] = {
        "name": "small",
        "task": "classification",
        "architecture": "bert",
        "labels": ("no", "yes"),
        "activation": "softmax",
        "max_length": 64,
        "pad_id": 0,
        "inputs": ("input_ids", "attention_mask"),
        "outputs": ("logits",),
        "target": "cpu",
        "opset": 20,
        "contrib_opset": 1,
        "contrib_ops": ("Gelu",),
        "weights": {"kept": 1, "dense": 2},
        "plan_digest": "x",
    }
    return Manifest(**(settings | changes))


@pytest.fixture
def written(tmp_path: Path) -> Artifact:
    """An artifact on disk."""
    return write_artifact(tmp_path / "small", manifest(), FILES)


def edit(artifact: Artifact, **changes: Any) -> None:
    """Change manifest fields behind the writer's back."""
    path = artifact.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_written_opens_the_same(written: Artifact) -> None:
    """Manifest and digest round-trip; no temporary file stays."""
    opened = open_artifact(written.path)
    assert opened.manifest == written.manifest
    assert opened.manifest.digest == written.manifest.digest
    assert sorted(p.name for p in written.path.iterdir()) == [
        "manifest.json",
        "model.onnx",
        "plan.json",
        "tokenizer.json",
    ]
    assert [p.name for p in written.path.parent.iterdir()] == ["small"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_altered_or_missing_file_is_refused(written: Artifact, name: str) -> None:
    """Each file by its hash."""
    (written.path / name).write_bytes(b"other")
    with pytest.raises(ArtifactError, match=f"{name} is not the file that was written"):
        open_artifact(written.path)
    (written.path / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_artifact(written.path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "", "manifest.json", "a\\b"])
def test_a_path_that_leaves_the_directory_is_refused(written: Artifact, name: str) -> None:
    """Also a nested one, an empty one, and the manifest itself."""
    edit(written, files={**written.manifest.files, name: "0"})
    with pytest.raises(ArtifactError, match="not a plain file name"):
        open_artifact(written.path)


def test_a_link_is_refused(written: Artifact, tmp_path: Path) -> None:
    """Even to a file with the right hash."""
    (tmp_path / "elsewhere").write_bytes(FILES["model.onnx"])
    written.model.unlink()
    written.model.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="is a link"):
        open_artifact(written.path)


@pytest.mark.parametrize(
    "changes",
    [{"schema": 2}, {"task": "poetry"}, {"labels": []}, {"max_length": "long"}, {"files": []}, {"surprise": 1}],
)
def test_a_manifest_of_another_shape_is_refused(written: Artifact, changes: dict[str, Any]) -> None:
    """Unknown schema, task, fields or types."""
    edit(written, **changes)
    with pytest.raises(ArtifactError, match="manifest"):
        open_artifact(written.path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_manifest_that_is_not_an_object_is_refused(written: Artifact, content: str) -> None:
    """However deep."""
    (written.path / "manifest.json").write_text(content)
    with pytest.raises(ArtifactError):
        open_artifact(written.path)


def test_only_an_artifact_is_replaced(written: Artifact, tmp_path: Path) -> None:
    """A new one replaces an old one; a directory of something else stays."""
    again = write_artifact(written.path, manifest(), {**FILES, "model.onnx": b"new"})
    assert open_artifact(written.path).manifest.digest == again.manifest.digest != written.manifest.digest
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years of work")
    with pytest.raises(ArtifactError, match="is no artifact"):
        write_artifact(tmp_path / "thesis", manifest(), FILES)
    assert (tmp_path / "thesis" / "chapter").read_text() == "years of work"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither half an artifact nor a temporary directory."""

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ResourceError, match="No space left"):
        write_artifact(tmp_path / "small", manifest(), FILES)
    assert list(tmp_path.iterdir()) == []


def test_measured_figures_do_not_change_the_digest(written: Artifact) -> None:
    """Speed differs by machine; the model is the same."""
    updated = update_measured(written.path, {"speed": {"ratio": 2.1}})
    assert updated.manifest.digest == written.manifest.digest
    assert open_artifact(written.path).manifest.measured == {"speed": {"ratio": 2.1}}


@pytest.mark.parametrize("content", ['{"name": "an extension of a browser"}', "not JSON", None])
def test_a_folder_that_has_a_manifest_of_its_own_is_not_replaced(
    content: str | None, written: Artifact, tmp_path: Path
) -> None:
    """Nor is an artifact that something else was put into."""
    if content is None:
        folder = written.path
        (folder / "notes.txt").write_text("mine")
    else:
        folder = tmp_path / "other"
        folder.mkdir()
        (folder / "manifest.json").write_text(content)
    before = sorted(folder.iterdir())
    with pytest.raises(ArtifactError, match="is no artifact"):
        write_artifact(folder, manifest(), {})
    assert sorted(folder.iterdir()) == before


def test_an_artifact_is_replaced_whole_or_stays(written: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new one cannot take its place, the old one is there again, and nothing beside it."""
    rename, beside = Path.rename, sorted(written.path.parent.iterdir())

    def failing(self: Path, target: Path) -> Path:
        if target == written.path and ".old-" not in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ResourceError, match="Input/output error"):
        write_artifact(written.path, manifest(name="again"), FILES)
    assert open_artifact(written.path).manifest == written.manifest
    assert sorted(written.path.parent.iterdir()) == beside
