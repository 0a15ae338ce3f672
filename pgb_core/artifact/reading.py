"""Opens an artifact: only if every hash matches and every path lies inside the directory."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pgb_core.artifact.manifest import MAX_MANIFEST_BYTES, FormRecord, Manifest
from pgb_core.artifact.names import CONFIG, GRAPH, MANIFEST, PLAN, TOKENIZER, WEIGHTS, inside
from pgb_core.errors import ArtifactError
from pgb_core.onnx_file import read_graph

POSITIONS = "embeddings.position.table"
UNFETCHED = "is a pointer of Git LFS, not the file itself; fetch that with git lfs pull"
POINTER = b"version https://git-lfs.github.com/spec/"  # begins what Git LFS leaves of a file that it did not fetch
_LISTED = 4  # artifacts that a message names


@dataclass(frozen=True)
class Artifact:
    """A verified directory. digest: sha256 of the manifest's own bytes, which name the hash of every other file."""

    path: Path
    manifest: Manifest
    digest: str

    def form(self, name: str) -> FormRecord:
        """What is known of a form. Raises ArtifactError when the artifact does not carry it."""
        if name not in self.manifest.forms:
            raise ArtifactError(
                f"{self.path}: carries no form {name!r}, only {', '.join(self.manifest.forms)}; "
                "choose one of these; pgb compress --forms makes others"
            )
        return self.manifest.forms[name]

    def graph(self, form: str) -> Path:
        """The file that a runtime runs: an ONNX graph, or PyTorch's tensors. Raises ArtifactError as `form` does."""
        return self.path / self.form(form).file

    def size(self, form: str) -> int:
        """Bytes of that file. Raises ArtifactError as `form` does."""
        return self.graph(form).stat().st_size

    def check(self, form: str) -> Path:
        """Inputs with the logits that this form must give. Raises ArtifactError as `form` does."""
        return self.path / self.form(form).check

    @property
    def tokenizer(self) -> Path:
        """The tokenizer in the format of `tokenizers`."""
        return self.path / TOKENIZER

    @property
    def plan(self) -> Path:
        """The plan: what was kept of every matrix."""
        return self.path / PLAN

    @property
    def weights(self) -> Path | None:
        """The PyTorch model's tensors, where they were asked for."""
        return self.path / WEIGHTS if WEIGHTS in self.manifest.files else None

    def check_current(self) -> None:
        """Raises ArtifactError when another artifact has taken this one's place since it was opened."""
        if hashlib.sha256(_read(self.path)[0]).hexdigest() != self.digest:
            raise ArtifactError(f"{self.path}: was replaced while it was read; open it again")


def open_artifact(path: str | Path) -> Artifact:
    """Read and verify. Raises ArtifactError naming the file that is missing, altered or outside."""
    root = Path(path)
    content, manifest = _read(root)
    named = [file for record in manifest.forms.values() for file in (record.file, record.check)]
    for required in (TOKENIZER, PLAN, *named):
        if required not in manifest.files:
            raise ArtifactError(f"{root}: the manifest lists no {required}; make the artifact again")
    for name, expected in manifest.files.items():
        _check_file(root, name, expected)
    for name in dict.fromkeys(record.file for record in manifest.forms.values()):
        if name.endswith(GRAPH):
            _check_graph(root, name, manifest)
    return Artifact(root, manifest, hashlib.sha256(content).hexdigest())


def _read(root: Path) -> tuple[bytes, Manifest]:
    """The manifest, as bytes and what they say. Raises ArtifactError."""
    try:
        size = (root / MANIFEST).stat().st_size
        if size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{root}: the manifest has {size} bytes, at most {MAX_MANIFEST_BYTES} are read")
        content = (root / MANIFEST).read_bytes()
        return content, _manifest(root, content.decode())
    except OSError as error:
        if isinstance(error, PermissionError):
            raise _unreadable(root, MANIFEST, error) from error
        raise ArtifactError(f"{root}: {_no_artifact(root)}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{root}: {MANIFEST} is not UTF-8") from error
    except ValueError as error:  # of the path: it has a NUL, or what cannot be encoded
        raise ArtifactError(f"{str(root)!a}: no file can have this name; check the path") from error


def _check_file(root: Path, name: str, expected: str) -> None:
    """Raises ArtifactError when a file is not the one of that sha256."""
    file = inside(root, name)
    if not file.is_file():
        raise ArtifactError(f"{root}: {name} is missing; copy the whole directory")
    try:
        found = sha256_of(file)
    except OSError as error:
        raise _unreadable(root, name, error) from error
    if found != expected and is_pointer(file):
        raise ArtifactError(f"{root}: {name} {UNFETCHED}")
    if found != expected:
        raise ArtifactError(f"{root}: {name} is not the file that was written (sha256 differs); copy it again")


def _manifest(root: Path, text: str) -> Manifest:
    """What a manifest says. Raises ArtifactError that names the artifact, and what to do."""
    try:
        return Manifest.from_json(text)
    except ArtifactError as error:
        said, _, remedy = str(error).partition("; ")
        raise ArtifactError(f"{root}: {said}; {remedy or 'copy the artifact again, or make it again'}") from error


def _unreadable(root: Path, name: str, error: OSError) -> ArtifactError:
    return ArtifactError(f"{root}: {name} cannot be read ({error.strerror}); let this user read it")


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes, in hexadecimal; the file is read in parts."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_pointer(path: Path) -> bool:
    """Whether Git LFS left this in place of a file."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def artifacts_in(folder: Path) -> list[Path]:
    """The artifacts that a folder holds, where it is none itself."""
    found = [path.parent for path in folder.glob(f"*/{MANIFEST}") if path.parent.name[0] != "."]
    return [] if (folder / MANIFEST).exists() else sorted(found)


def _no_artifact(root: Path) -> str:
    """What a path without a manifest is, and what to name instead."""
    if not os.path.lexists(root):
        return "no such directory; check the path"
    if root.is_file():
        return "is a file; name the directory that pgb compress wrote"
    inside = artifacts_in(root)
    if inside:
        few = [ascii(str(path))[1:-1] for path in inside[:_LISTED]]
        several = "" if all(path.name.isdecimal() for path in inside) else "; pgb serve --models-dir takes the folder"
        return f"no {MANIFEST}; it holds artifacts; name one of them, such as {', '.join(few)}{several}"
    if (root / PLAN).exists():
        return f"{MANIFEST} is missing; copy the whole directory"
    if any(root.glob(f"*{CONFIG}")) and (any(root.glob("*.safetensors")) or any(root.glob("*.bin"))):
        return "is a checkpoint, and no artifact; make one of it with pgb compress (--keep 1 leaves the model as it is)"
    return f"no {MANIFEST}; name a directory that pgb compress wrote"


def _check_graph(root: Path, name: str, manifest: Manifest) -> None:
    try:
        graph = read_graph(root / name)
    except ValueError as error:
        raise ArtifactError(f"{root}: {name} is no ONNX file ({error}); copy it again") from error
    if graph.external:
        raise ArtifactError(f"{root}: {name} keeps tensors in other files, which no hash covers; save it in one piece")
    positions = graph.shapes.get(POSITIONS, (manifest.max_length,))
    if positions and manifest.max_length > positions[0]:
        raise ArtifactError(f"{root}: max_length is more than the {positions[0]} positions of {name}")
