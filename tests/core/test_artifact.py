"""Artifacts: written whole, opened only if every hash holds and every path stays inside."""

import errno
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgb_core import artifact
from pgb_core.artifact import (
    POINTER,
    POSITIONS,
    Artifact,
    FormRecord,
    Manifest,
    open_artifact,
    place,
    repair,
    write_artifact,
)
from pgb_core.errors import ArtifactError, ResourceError
from pgb_core.inference.load import load
from pgb_core.onnx_file import read_graph

# A protobuf whose only field is ir_version: the least that can be called a graph.
GRAPH = b"\x08\x0a"
FILES = {"model.onnx": GRAPH, "tokenizer.json": b"{}", "plan.json": b"{}", "check.json": b"{}"}
RECORD = FormRecord("model.onnx", "check.json", "float32", ("onnxruntime", "openvino"), ("cpu",), 1e-3, ("Gelu",))
INT8 = replace(RECORD, file="model-int8.onnx", check="check-int8.json", numbers="int8", ran={"runtime": "x 1"})
TORCH = replace(RECORD, file="weights.safetensors", check="check-torch.json", runtimes=("torch",), contrib_ops=())
SEVERAL = {"fp32": RECORD, "int8": INT8, "torch": TORCH}
SEVERAL_FILES = FILES | {
    "model-int8.onnx": GRAPH,
    "check-int8.json": b"{}",
    "weights.safetensors": b"no graph",
    "check-torch.json": b"{}",
}


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
        "opset": 20,
        "contrib_opset": 1,
        "forms": {"fp32": RECORD},
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
        "check.json",
        "manifest.json",
        "model.onnx",
        "plan.json",
        "tokenizer.json",
    ]
    assert [p.name for p in written.path.parent.iterdir()] == ["small"]


def test_in_a_directory_of_several_artifacts_one_is_to_be_named(written: Artifact) -> None:
    """As the message says."""
    with pytest.raises(ArtifactError, match=r"no manifest.json; it holds artifacts; name one of them, such as .*small"):
        open_artifact(written.path.parent)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "no such directory; check the path"),
        (["a.txt"], "no manifest.json; name a directory that pgb compress wrote"),
        (["config.json", "tokenizer.json"], "no manifest.json; name a directory"),
        (["config.json", "model.safetensors"], "is a checkpoint, and no artifact; make one of it with pgb compress"),
        (["adapter_config.json", "adapter_model.bin"], "is a checkpoint, and no artifact"),
        (["config.json", "weights.safetensors", "plan.json"], "manifest.json is missing; copy the whole directory"),
        (["small/manifest.json"], "name one of them, such as .*small; pgb serve --models-dir takes the folder"),
        (["1/manifest.json"], "name one of them, such as .*1$"),
    ],
)
def test_what_is_no_artifact_is_told_by_what_it_is(files: list[str] | None, said: str, tmp_path: Path) -> None:
    """With what to name instead."""
    root = tmp_path / "given"
    for name in files or ():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    with pytest.raises(ArtifactError, match=f"given: {said}" if "one of" not in said else said):
        open_artifact(root)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ArtifactError, match="file: is a file; name the directory"):
        open_artifact(file)


@pytest.mark.parametrize("path", ["a\0b", "~\0", "\ud800"])
def test_a_path_that_no_file_can_have_is_refused(path: str) -> None:
    """Printable, whatever it holds."""
    with pytest.raises(ArtifactError, match=r"^'[ -~]+': no file can have this name; check the path"):
        load(path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_artifact_without_one_of_its_files_is_refused(tmp_path: Path, name: str) -> None:
    """Whole and hashed as the others may be."""
    files = {other: content for other, content in FILES.items() if other != name}
    path = write_artifact(tmp_path / "small", manifest(), files).path
    with pytest.raises(ArtifactError, match=f"lists no {name}"):
        open_artifact(path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_altered_or_missing_file_is_refused(written: Artifact, name: str) -> None:
    """Each file by its hash."""
    (written.path / name).write_bytes(b"other")
    with pytest.raises(ArtifactError, match=f"{name} is not the file that was written"):
        open_artifact(written.path)
    (written.path / name).write_bytes(POINTER)
    with pytest.raises(ArtifactError, match=f"{name} is a pointer of Git LFS.*git lfs pull"):
        open_artifact(written.path)
    (written.path / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_artifact(written.path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "", "manifest.json", "a\\b"])
def test_a_path_that_leaves_the_directory_is_refused(written: Artifact, name: str) -> None:
    """Also a nested one, an empty one, and the manifest itself."""
    edit(written, files={**written.manifest.files, name: "0" * 64})
    with pytest.raises(ArtifactError, match="not a plain file name"):
        open_artifact(written.path)


def test_a_file_that_may_not_be_read_is_named(written: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an artifact that another user wrote; the manifest, too."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    for function in ("pgb_core.artifact.reading.sha256_of", "pathlib.Path.read_bytes"):
        monkeypatch.setattr(function, refuse)
        with pytest.raises(ArtifactError, match=r"cannot be read \(Permission denied\); let this user read it"):
            open_artifact(written.path)


def test_a_link_is_refused(written: Artifact, tmp_path: Path) -> None:
    """Even to a file with the right hash."""
    (tmp_path / "elsewhere").write_bytes(FILES["model.onnx"])
    written.graph("fp32").unlink()
    written.graph("fp32").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="is a link"):
        open_artifact(written.path)


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"schema": 1},
            {"schema": 3},
            {"task": "poetry"},
            {"files": []},
            {"surprise": 1},
            {"files": {"model.onnx": 7}},
        ),
        *({"labels": []}, {"labels": ["no", "no"]}, {"labels": ["no", "\ud800"]}, {"labels": [1, 2]}),
        *({"max_length": "long"}, {"max_length": 0}, {"max_length": True}, {"max_length": 64.0}, {"pad_id": -1}),
        *({"opset": 0}, {"contrib_opset": -1}, {"name": ""}, {"name": 7}, {"name": "a\nb"}, {"name": "\udfff"}),
        *({"inputs": ["input_ids"]}, {"inputs": ["input_ids", "attention_mask", "x"]}, {"outputs": []}),
        *({"outputs": ["a", "b"]}, {"task": "qa", "labels": [], "outputs": ["a", "a"]}, {"architecture": None}),
        *({"weights": {}}, {"weights": {"kept": 0, "dense": 0}}, {"weights": {"kept": 3, "dense": 2}}),
        *({"weights": {"kept": 1.0, "dense": 2}}, {"measured": {"f1": float("nan")}}, {"measured": {"a": ["\ud800"]}}),
        {"measured": json.loads('{"a":' * 600 + "1" + "}" * 600)},
        *({"provenance": {"\ud800": 1}}, {"provenance": {"a": {"b": [float("inf")]}}}, {"target": "cpu"}),
        *({"forms": {}}, {"forms": []}, {"forms": {"fp32": {}}}, {"forms": {"fp32": "model.onnx"}}),
    ],
    ids=str,
)
def test_a_manifest_of_another_shape_is_refused(written: Artifact, changes: dict[str, Any]) -> None:
    """Unknown schema, task or fields; counts of nothing; numbers and texts that no answer could repeat."""
    edit(written, **changes)
    with pytest.raises(ArtifactError, match=rf"^{re.escape(str(written.path))}: manifest: .*; .*make"):
        open_artifact(written.path)


@pytest.mark.parametrize(
    "changes",
    [
        *({"file": 7}, {"file": "../model.onnx"}, {"check": None}, {"numbers": []}, {"surprise": 1}),
        *({"runtimes": "onnxruntime"}, {"runtimes": [1]}, {"runtimes": []}, {"devices": {}}, {"devices": []}),
        *({"contrib_ops": [None]}, {"tolerance": 0}, {"tolerance": 1.1}, {"tolerance": True}, {"tolerance": "small"}),
        *({"tolerance": float("nan")}, {"ran": []}, {"measured": 1}, {"measured": {"drop": float("inf")}}),
        *({"measured": {"drop": "none"}}, {"measured": {"equal_answers": True}}, {"ran": {"runtime": "\ud800"}}),
    ],
    ids=str,
)
def test_a_form_of_another_shape_is_refused(written: Artifact, changes: dict[str, Any]) -> None:
    """Each field by its kind; a form that nothing runs; figures that could not be compared."""
    (record,) = json.loads((written.path / "manifest.json").read_text())["forms"].values()
    edit(written, forms={"fp32": record | changes})
    with pytest.raises(ArtifactError):
        open_artifact(written.path)


@pytest.mark.parametrize(
    ("schema", "remedy"),
    [
        (1, "make the artifact again, by pgb compress"),
        (3, "a later version of pgb-serve wrote it: install that one, or make the artifact again"),
    ],
)
def test_a_manifest_of_another_schema_says_what_to_do(written: Artifact, schema: int, remedy: str) -> None:
    """An earlier one has to be made again; who wrote a later one can read it."""
    edit(written, schema=schema)
    with pytest.raises(ArtifactError, match=f"its schema is not 2; {remedy}"):
        open_artifact(written.path)


def test_an_artifact_with_several_forms_opens_the_same(tmp_path: Path) -> None:
    """Each form has its file and its check, in the order in which they were asked for."""
    written = write_artifact(tmp_path / "small", manifest(forms=SEVERAL), SEVERAL_FILES)
    opened = open_artifact(written.path)
    assert opened.manifest == written.manifest
    assert list(opened.manifest.forms) == list(SEVERAL)
    assert opened.graph("int8") == written.path / "model-int8.onnx"
    assert opened.check("torch") == written.path / "check-torch.json"
    assert opened.form("int8") == INT8
    for ask in (opened.form, opened.graph, opened.check):
        with pytest.raises(ArtifactError, match="no form 'gpu', only fp32, int8, torch; choose one of these; pgb"):
            ask("gpu")


@pytest.mark.parametrize("name", sorted(SEVERAL_FILES.keys() - {"tokenizer.json", "plan.json"}))
def test_every_form_needs_its_file_and_its_check(tmp_path: Path, name: str) -> None:
    """Listed, there, and with the right hash, whichever form would be served."""
    less = {other: content for other, content in SEVERAL_FILES.items() if other != name}
    path = write_artifact(tmp_path / "less", manifest(forms=SEVERAL), less).path
    with pytest.raises(ArtifactError, match=f"lists no {name}"):
        open_artifact(path)
    path = write_artifact(tmp_path / "whole", manifest(forms=SEVERAL), SEVERAL_FILES).path
    (path / name).write_bytes(b"other")
    with pytest.raises(ArtifactError, match=f"{name} is not the file that was written"):
        open_artifact(path)
    (path / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_artifact(path)


@pytest.mark.parametrize("name", ["model.onnx", "model-int8.onnx"])
def test_every_graph_is_looked_into(tmp_path: Path, name: str) -> None:
    """Not the first form's alone; what is no graph is not."""
    path = write_artifact(tmp_path / "small", manifest(forms=SEVERAL), SEVERAL_FILES | {name: b"a graph"}).path
    with pytest.raises(ArtifactError, match=f"{name} is no ONNX file"):
        open_artifact(path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_manifest_that_is_not_an_object_is_refused(written: Artifact, content: str) -> None:
    """However deep."""
    (written.path / "manifest.json").write_text(content)
    with pytest.raises(ArtifactError):
        open_artifact(written.path)


def test_only_an_artifact_is_replaced(written: Artifact, tmp_path: Path) -> None:
    """A new one replaces an old one; a directory of something else stays."""
    again = write_artifact(written.path, manifest(), {**FILES, "model.onnx": b"\x08\x0b"})
    assert open_artifact(written.path).manifest.digest == again.manifest.digest != written.manifest.digest
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years of work")
    with pytest.raises(ArtifactError, match="is no artifact"):
        write_artifact(tmp_path / "thesis", manifest(), FILES)
    assert (tmp_path / "thesis" / "chapter").read_text() == "years of work"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither half an artifact nor a temporary directory; it says what to do."""

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pgb_core.artifact.writing._written", full)
    with pytest.raises(ResourceError, match=r"No space left.* make room, and run the same command again"):
        write_artifact(tmp_path / "small", manifest(), FILES)
    assert list(tmp_path.iterdir()) == []


def test_what_only_describes_a_model_is_hashed_and_leaves_its_digest_alone(written: Artifact) -> None:
    """Another card or config.json is the same model; an altered one is refused all the same."""
    described = write_artifact(written.path, manifest(), {**FILES, **dict.fromkeys(artifact.COMPANIONS, b"{}")})
    assert described.manifest.digest == written.manifest.digest
    assert open_artifact(written.path).manifest.files.keys() == {*FILES, *artifact.COMPANIONS}
    (written.path / artifact.CONFIG).write_text('{"model_type": "gpt2"}')
    with pytest.raises(ArtifactError, match=r"config.json is not the file that was written"):
        open_artifact(written.path)


@pytest.mark.parametrize("content", [b'{"name": "an extension of a browser"}', b"not JSON", b"\xff"])
def test_a_folder_that_has_a_manifest_of_its_own_is_not_replaced(content: bytes, tmp_path: Path) -> None:
    """It is some other program's."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"is no artifact that this version reads \(.*manifest"):
        write_artifact(folder, manifest(), {})
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


def test_an_artifact_with_something_else_in_it_is_not_replaced(written: Artifact, tmp_path: Path) -> None:
    """What is not of the artifact is named; where it was moved away, the artifact is replaced. A link is called one."""
    (written.path / ".gitattributes").write_text("mine")
    with pytest.raises(ArtifactError, match=r"holds \.gitattributes beside the files of an artifact.*move that away"):
        write_artifact(written.path, manifest(), FILES)
    (written.path / ".cache").mkdir()
    with pytest.raises(ArtifactError, match=r"holds \.cache and 1 more beside"):
        write_artifact(written.path, manifest(), FILES)
    assert (written.path / ".gitattributes").read_text() == "mine"
    (written.path / ".cache").rmdir()
    (written.path / ".gitattributes").rename(tmp_path / ".gitattributes")
    write_artifact(written.path, manifest(), FILES)
    (tmp_path / "link").symlink_to(written.path)
    with pytest.raises(ArtifactError, match="is no artifact but a link; name what it leads to"):
        write_artifact(tmp_path / "link", manifest(), FILES)


def test_an_artifact_is_replaced_whole_or_stays(written: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new one cannot take its place, the old one is there again, and nothing beside it."""
    rename, beside = Path.rename, sorted(written.path.parent.iterdir())

    def failing(self: Path, target: Path) -> Path:
        if target == written.path and ".old-" not in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr("pgb_core.artifact.place._exchanged", lambda first, second: False)
    with pytest.raises(ResourceError, match="Input/output error"):
        write_artifact(written.path, manifest(name="again"), FILES)
    assert open_artifact(written.path).manifest == written.manifest
    assert sorted(written.path.parent.iterdir()) == beside


@pytest.mark.parametrize("one_step", [True, False])
def test_a_kill_while_an_artifact_is_replaced_loses_none(
    one_step: bool, written: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one step there is an artifact at every moment; in two, the next start puts the old one back."""

    class KilledError(BaseException):
        pass

    calls = {"exchange": 0}
    exchanged, rename = place._exchanged, Path.rename

    def exchanging(first: Path, second: Path) -> bool:
        calls["exchange"] += 1
        return exchanged(first, second) if one_step else False

    def killed(self: Path, target: Path) -> Path:
        rename(self, target)
        raise KilledError

    monkeypatch.setattr(place, "_exchanged", exchanging)
    monkeypatch.setattr(Path, "rename", killed)
    monkeypatch.setattr(
        "pgb_core.artifact.place.shutil.rmtree", lambda *_, **__: None
    )  # a killed process tidies nothing up
    try:
        write_artifact(written.path, manifest(name="again"), FILES)
    except KilledError:
        assert not one_step
    monkeypatch.undo()
    assert calls["exchange"] == 1
    assert written.path.exists() == one_step
    said = repair(written.path)
    assert (said is not None) == (not one_step)
    assert open_artifact(written.path).manifest.name == ("again" if one_step else written.manifest.name)
    assert sorted(entry.name for entry in written.path.parent.iterdir()) == [written.path.name]


@pytest.mark.parametrize("name", [".small.new-head.work", ".small.new-head", ".small.old-1.work"])
def test_what_another_output_has_beside_it_stays(name: str, written: Artifact) -> None:
    """Its name may begin like that of what a killed writer left, which goes."""
    assert written.path.name == "small"
    other = written.path.parent / name
    other.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "pgb_core.artifact.place.shutil.rmtree", lambda *_, **__: None
        )  # a killed process tidies nothing up
        with artifact.scratch_beside(written.path) as scratch:
            pass
    assert scratch.is_dir()
    repair(written.path)
    assert other.is_dir()
    assert not scratch.exists()


@pytest.mark.parametrize(("number", "remedy"), [(errno.ENOSPC, "make room"), (errno.EROFS, "correct that")])
def test_where_no_artifact_can_be_written_the_same_command_goes_on(
    number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another place would begin anew, after all training."""

    def refused(**_: object) -> str:
        raise OSError(number, "no folder")

    monkeypatch.setattr("pgb_core.artifact.place.tempfile.mkdtemp", refused)
    with pytest.raises(ResourceError, match=rf"\(no folder\).*; {remedy}, and run the same command again"):
        write_artifact(tmp_path / "small", manifest(), FILES)


def test_the_manifest_has_a_digest_of_its_own(written: Artifact) -> None:
    """Which changes with every word of it, while the model's stays."""
    before = open_artifact(written.path)
    assert before.digest == written.digest
    updated = write_artifact(written.path, manifest(measured={"speed": {"ratio": 2.1}}), FILES)
    after = open_artifact(written.path)
    assert after.digest == updated.digest != before.digest
    assert after.manifest.digest == before.manifest.digest


def tensor(external: str, name: str = "w") -> onnx.TensorProto:
    """Small; its values lie elsewhere as `external` says."""
    made = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), name)
    if "entry" in external:
        made.external_data.add(key="offset", value="0")
        made.external_data.add(key="location", value="elsewhere")
    if "location" in external:
        made.data_location = onnx.TensorProto.EXTERNAL
    return made


def graph_with(place: str, external: str) -> onnx.ModelProto:
    """A graph that has the tensor in one of the places where a tensor may stand."""
    helper, inner = onnx.helper, tensor(external)
    nodes, initializers, sparse = [helper.make_node("Identity", ["x"], ["y"])], [], []
    if place == "initializer":
        initializers.append(inner)
    elif place == "attribute":
        nodes.append(helper.make_node("Constant", [], ["c"], value=inner))
    elif place == "list":
        nodes.append(helper.make_node("Odd", [], ["c"], values=[tensor(""), inner], domain="odd"))
    elif place == "subgraph":
        body = helper.make_graph([], "body", [], [], [inner])
        nodes.append(helper.make_node("Odd", [], ["c"], body=body, domain="odd"))
    elif place == "sparse":
        sparse.append(helper.make_sparse_tensor(inner, onnx.numpy_helper.from_array(np.arange(4)), [9]))
    graph = helper.make_graph(nodes, "g", [], [], initializers, sparse_initializer=sparse)
    made = helper.make_model(graph)
    if place == "function":
        node = helper.make_node("Constant", [], ["c"], value=inner)
        made.functions.append(helper.make_function("odd", "F", [], ["c"], [node], [helper.make_opsetid("", 20)]))
    return made


@pytest.mark.parametrize("place", ["initializer", "attribute", "list", "subgraph", "sparse", "function"])
@pytest.mark.parametrize("external", ["", "entry", "location", "entry and location"])
def test_a_graph_that_keeps_tensors_elsewhere_is_refused(tmp_path: Path, place: str, external: str) -> None:
    """Wherever the tensor stands, and in whatever order its fields are written."""
    content = graph_with(place, external).SerializeToString()
    path = write_artifact(tmp_path / "small", manifest(), {**FILES, "model.onnx": content}).path
    if external:
        with pytest.raises(ArtifactError, match="tensors in other files"):
            open_artifact(path)
    else:
        assert read_graph(path / "model.onnx").shapes["w"] == (4,)
        open_artifact(path)


def test_more_positions_than_the_graph_has_are_refused(tmp_path: Path) -> None:
    """The manifest may not promise longer texts."""
    graph = onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(np.zeros((63, 2)), POSITIONS)])
    content = onnx.helper.make_model(graph).SerializeToString()
    path = write_artifact(tmp_path / "small", manifest(), {**FILES, "model.onnx": content}).path
    with pytest.raises(ArtifactError, match="63 positions"):
        open_artifact(path)


@given(st.binary(max_size=60))
def test_noise_is_no_graph_or_one_without_tensors_elsewhere(content: bytes) -> None:
    """Reading ends, and says what it saw or that it saw nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g"
        path.write_bytes(content)
        with suppress(ValueError):
            assert not read_graph(path).shapes.get("w")


@pytest.mark.parametrize(
    ("mask", "folder", "file"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600), (0o002, 0o775, 0o664)]
)
def test_an_artifact_is_as_open_as_the_umask_says(tmp_path: Path, mask: int, folder: int, file: int) -> None:
    """The directory like its files, made anew or in the place of another."""
    before = os.umask(mask)
    try:
        for _ in range(2):
            write_artifact(tmp_path / "small", manifest(), FILES)
            assert (tmp_path / "small").stat().st_mode & 0o777 == folder
            assert (tmp_path / "small" / "model.onnx").stat().st_mode & 0o777 == file
    finally:
        os.umask(before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["small"]
