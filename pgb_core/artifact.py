"""The artifact: one directory with a manifest. It is all that the job hands to the service.

`manifest.json` names every other file with its SHA-256. An artifact is written whole or not at all. It is opened only
if every hash matches and every path lies inside the directory. This module uses the standard library only.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pgb_core.errors import ArtifactError, ResourceError
from pgb_core.onnx_file import read_graph

MANIFEST_SCHEMA = 2
MANIFEST = "manifest.json"
GRAPH = ".onnx"
MODEL = f"model{GRAPH}"
TOKENIZER = "tokenizer.json"
PLAN = "plan.json"
CHECK = "check.json"
WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
CARD = "README.md"
COMPANIONS = (CONFIG, TOKENIZER_CONFIG, CARD)  # for other programs and for people; nothing here reads them
FP32 = "fp32"
MAX_MANIFEST_BYTES = 1 << 20
_LISTED = 4  # artifacts that a message names
TASKS = ("classification", "qa")
SCORINGS = ("softmax", "sigmoid", "none")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = {"classification": 1, "qa": 2}
POSITIONS = "embeddings.position.table"
_SHA256 = re.compile("[0-9a-f]{64}")
# How the names end of what a writer has beside an artifact: as mkdtemp makes them, and with the number of a process.
_LEFT = {"new": re.compile("[a-z0-9_]{8}"), "old": re.compile("[0-9]+")}


@dataclass(frozen=True)
class FormRecord:
    """One form that an artifact carries: a file that some engine runs.

    file, check: names of the graph (or the tensors), and of the inputs with the logits that it must give. numbers: that
    its products are computed in. runtimes, devices: what runs it, the usual one first. tolerance: how far its logits
    may be from the check's, as a share of the largest one. contrib_ops: operators beyond ONNX. ran: engine and
    processor on which it was run when it was made; empty when it has run nowhere. measured: what it lost.
    """

    file: str
    check: str
    numbers: str
    runtimes: tuple[str, ...]
    devices: tuple[str, ...]
    tolerance: float
    contrib_ops: tuple[str, ...] = ()
    ran: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_raw(cls, name: str, raw: object) -> FormRecord:
        """From JSON. Raises ArtifactError."""
        said = f"manifest: form {name!r}"
        if not isinstance(raw, dict) or set(raw) != {f.name for f in fields(cls)}:
            raise ArtifactError(f"{said} has a field that is missing or unknown")
        for text in ("file", "check", "numbers"):
            if not isinstance(raw[text], str):
                raise ArtifactError(f"{said}: {text} must be a text")
        for several in ("runtimes", "devices", "contrib_ops"):
            if not isinstance(raw[several], list) or not all(isinstance(item, str) for item in raw[several]):
                raise ArtifactError(f"{said}: {several} must be a list of strings")
            if not raw[several] and several != "contrib_ops":
                raise ArtifactError(f"{said}: {several} names none")
            raw[several] = tuple(raw[several])
        tolerance = raw["tolerance"]
        if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance <= 1:
            raise ArtifactError(f"{said}: tolerance must be a number above 0, at most 1")
        if not isinstance(raw["ran"], dict) or not isinstance(raw["measured"], dict):
            raise ArtifactError(f"{said}: ran and measured must be objects")
        for figure in ("drop", "equal_answers"):
            if type(raw["measured"].get(figure, 0.0)) not in (int, float):
                raise ArtifactError(f"{said}: {figure} must be a number")
        return cls(**raw)


@dataclass(frozen=True)
class Manifest:
    """Everything a reader needs before it opens a model.

    labels: by index, empty for qa. activation: what turns logits into scores. max_length: tokens.
    inputs, outputs: names in every graph. forms: by name, in the order asked for. weights: kept and
    dense counts of the encoder. provenance: where it came from and with what settings. measured:
    accuracy, parity and speed as they were seen when it was made. files: name -> sha256.
    """

    name: str
    task: str
    architecture: str
    labels: tuple[str, ...]
    activation: str
    max_length: int
    pad_id: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    contrib_opset: int
    forms: Mapping[str, FormRecord]
    weights: Mapping[str, int]
    plan_digest: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    schema: int = MANIFEST_SCHEMA

    def to_json(self) -> str:
        """Readable, stable key order."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Inverse of `to_json`. Raises ArtifactError when a field is missing, unknown or out of range."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArtifactError("manifest: not JSON; make the artifact again") from error
        if not isinstance(raw, dict) or raw.get("schema") != MANIFEST_SCHEMA:
            raise ArtifactError(
                f"manifest: its schema is not {MANIFEST_SCHEMA}; make the artifact again, by pgb compress"
            )
        names = {f.name for f in fields(cls)}
        if set(raw) != names:
            odd = sorted(set(raw) ^ names)[0]
            raise ArtifactError(f"manifest: field {odd!r} is missing or unknown")
        for name in ("labels", "inputs", "outputs"):
            if not isinstance(raw[name], list) or not all(isinstance(item, str) for item in raw[name]):
                raise ArtifactError(f"manifest: {name} must be a list of strings")
            raw[name] = tuple(raw[name])
        if not isinstance(raw["forms"], dict):
            raise ArtifactError("manifest: forms must be an object")
        raw["forms"] = {name: FormRecord.from_raw(name, record) for name, record in raw["forms"].items()}
        try:
            return cls(**raw)._checked()
        except RecursionError as error:
            raise ArtifactError("manifest: it is nested too deeply; make the artifact again") from error

    @property
    def digest(self) -> str:
        """sha256 over the hashes of the files that answers depend on: equal for equal models, whenever made."""
        lines = "".join(f"{self.files[name]}  {name}\n" for name in sorted(self.files) if name not in COMPANIONS)
        return hashlib.sha256(lines.encode()).hexdigest()

    def _checked(self) -> Manifest:
        if self.task not in TASKS or self.activation not in SCORINGS:
            raise ArtifactError("manifest: its task or activation is unknown")
        for name in ("name", "architecture", "plan_digest"):
            if not isinstance(getattr(self, name), str):
                raise ArtifactError(f"manifest: {name} must be a text")
        for name, least in (("max_length", 1), ("pad_id", 0), ("opset", 1), ("contrib_opset", 0)):
            if type(getattr(self, name)) is not int or getattr(self, name) < least:
                raise ArtifactError(f"manifest: {name} must be a whole number, at least {least}")
        for name in ("weights", "provenance", "measured", "files"):
            if not isinstance(getattr(self, name), dict):
                raise ArtifactError(f"manifest: {name} must be an object")
            if not writable(getattr(self, name)):
                raise ArtifactError(f"manifest: {name} holds a number or a text that JSON in UTF-8 cannot say")
        if not writable([asdict(record) | {"name": name} for name, record in self.forms.items()]):
            raise ArtifactError("manifest: forms hold a number or a text that JSON in UTF-8 cannot say")
        if not self.forms:
            raise ArtifactError("manifest: it names no form; make the artifact again")
        for name in ("name", "labels", "inputs", "outputs"):
            if not writable(list(getattr(self, name))):
                raise ArtifactError(f"manifest: {name} holds what is not UTF-8")
        if not self.name or not self.name.isprintable():
            raise ArtifactError("manifest: name must be a word that can be printed")
        if (self.task == "classification") != bool(self.labels) or len(set(self.labels)) < len(self.labels):
            raise ArtifactError("manifest: labels do not fit the task, or one stands there twice")
        if not set(self.inputs) <= set(INPUTS) or not {"input_ids", "attention_mask"} <= set(self.inputs):
            raise ArtifactError(f"manifest: inputs must be of {', '.join(INPUTS)}")
        if len(self.outputs) != OUTPUTS[self.task] or len(set(self.outputs)) < len(self.outputs):
            raise ArtifactError(f"manifest: outputs of a {self.task} graph are {OUTPUTS[self.task]}")
        counts = [self.weights.get(name) for name in ("kept", "dense")]
        whole = all(type(count) is int for count in counts)
        if not whole or not 0 <= counts[0] <= counts[1] or not counts[1]:  # type: ignore[operator]
            raise ArtifactError("manifest: weights must count those kept and those of the dense encoder")
        if not all(isinstance(hash, str) and _SHA256.fullmatch(hash) for hash in self.files.values()):
            raise ArtifactError("manifest: files must name a sha256 each")
        return self


@contextmanager
def telling(field: str) -> Iterator[None]:
    """Raises ArtifactError that names a field of the manifest, where what stands in it cannot be told to people.

    No service needs these fields, so they are not looked at before; and people edit them.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"manifest: {field} is not as pgb compress writes it; correct it, or copy the artifact again"
        ) from error


def writable(value: object) -> bool:
    """Whether JSON in UTF-8 can say it: no NaN or infinity, no half of a surrogate pair."""
    if isinstance(value, str):
        return value.isascii() or value.encode("utf-8", "replace").decode() == value
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(writable(key) and writable(inner) for key, inner in value.items())
    return all(map(writable, value)) if isinstance(value, list) else True


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
                f"pgb compress --forms {name} makes it"
            )
        return self.manifest.forms[name]

    def graph(self, form: str) -> Path:
        """The file that an engine runs: an ONNX graph, or PyTorch's tensors. Raises ArtifactError as `form` does."""
        return self.path / self.form(form).file

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


def _to_name(root: Path) -> str:
    """Which directory to name instead of one without a manifest: of several sizes, one."""
    inside = sorted(path.parent for path in root.glob(f"*/{MANIFEST}") if path.parent.name[0] != ".")
    if not inside:
        return "name a directory that pgb compress wrote"
    few = [ascii(str(path))[1:-1] for path in inside[:_LISTED]]
    return f"it holds artifacts; name one of them, such as {', '.join(few)}"


def open_artifact(path: str | Path) -> Artifact:
    """Read and verify. Raises ArtifactError naming the file that is missing, altered or outside."""
    root = Path(path)
    try:
        size = (root / MANIFEST).stat().st_size
        if size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{root}: the manifest has {size} bytes, at most {MAX_MANIFEST_BYTES} are read")
        content = (root / MANIFEST).read_bytes()
        manifest = Manifest.from_json(content.decode())
    except OSError as error:
        raise ArtifactError(f"{root}: no {MANIFEST}; {_to_name(root)}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{root}: {MANIFEST} is not UTF-8") from error
    named = [file for record in manifest.forms.values() for file in (record.file, record.check)]
    for required in (TOKENIZER, PLAN, *named):
        if required not in manifest.files:
            raise ArtifactError(f"{root}: the manifest lists no {required}; make the artifact again")
    for name, expected in manifest.files.items():
        file = _inside(root, name)
        if not file.is_file():
            raise ArtifactError(f"{root}: {name} is missing; copy the whole directory")
        if sha256_of(file) != expected:
            raise ArtifactError(f"{root}: {name} is not the file that was written (sha256 differs); copy it again")
    for name in dict.fromkeys(record.file for record in manifest.forms.values()):
        if name.endswith(GRAPH):
            _check_graph(root, name, manifest)
    return Artifact(root, manifest, hashlib.sha256(content).hexdigest())


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


def graph_name(form: str) -> str:
    """The file of a form's graph: model.onnx, or model-FORM.onnx for another than fp32."""
    return MODEL if form == FP32 else f"model-{form}{GRAPH}"


def check_name(form: str) -> str:
    """The file of a form's check, alike."""
    return CHECK if form == FP32 else f"check-{form}.json"


def write_artifact(
    path: str | Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    ready: Callable[[str], None] = lambda digest: None,
) -> Artifact:
    """Write everything to a directory beside `path`, then move it into place in one step.

    Replaces an artifact that stands there, and nothing else. ready: called with the digest of the manifest when all is
    written and nothing is in place yet; what it raises ends the writing. Raises ArtifactError or ResourceError.
    """
    root = Path(path)
    check_replaceable(root)
    with _staged(root) as staging:
        hashes = {}
        for name, content in files.items():
            _written(_inside(staging, name), content)
            hashes[name] = hashlib.sha256(content).hexdigest()
        complete = replace(manifest, files=hashes)._checked()
        content = complete.to_json().encode()
        if len(content) > MAX_MANIFEST_BYTES:
            raise ArtifactError(
                f"{root}: its manifest would have {len(content)} bytes, at most {MAX_MANIFEST_BYTES} are read; "
                "give the checkpoint's labels shorter names"
            )
        _written(staging / MANIFEST, content)
        digest = hashlib.sha256(content).hexdigest()
        ready(digest)
    return Artifact(root, complete, digest)


def _written(path: Path, content: bytes) -> None:
    """A file whose bytes are on the disk, not only on their way there."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes, in hexadecimal; the file is read in parts."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _staged(root: Path) -> Iterator[Path]:
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=_beside(root, "new"), dir=root.parent))
        staging.chmod(0o755)  # mkdtemp makes it private; an artifact is for every reader
    except OSError as error:
        raise ResourceError(f"{root}: cannot be written ({error.strerror}); choose another --out") from error
    try:
        yield staging
        swap(staging, root)
    except OSError as error:
        raise ResourceError(f"{root}: could not be written ({error.strerror}); nothing was left behind") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def scratch_beside(path: str | Path) -> Iterator[Path]:
    """A folder beside an artifact's place, on the same disk, that is gone afterwards. Raises ResourceError.

    `repair` removes it where a kill left it.
    """
    root = Path(path)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        found = Path(tempfile.mkdtemp(prefix=_beside(root, "new"), dir=root.parent))
    except OSError as error:
        raise ResourceError(f"{root}: cannot be written ({error.strerror}); choose another --out") from error
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)


def swap(staging: Path, root: Path) -> None:
    """Put one directory in the place of another: in one step where the system has one, else in two.

    Between the two steps a kill leaves no artifact; `repair` puts the old one back.
    """
    if not root.exists():
        staging.rename(root)
        return
    if _exchanged(staging, root):
        return  # the old one is what is removed now
    old = root.parent / f"{_beside(root, 'old')}{os.getpid()}"
    root.rename(old)
    try:
        staging.rename(root)
    except OSError:
        old.rename(root)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Whether Linux could exchange two names in one step (renameat2 with RENAME_EXCHANGE)."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(call(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)


def repair(path: str | Path) -> str | None:
    """Tidy up after a writer that was killed: put back the artifact that it had moved away, remove what it left.

    Only for who holds the output's lock. Returns what was done, in words, or None.
    """
    root = Path(path)
    if not root.parent.is_dir():
        return None
    left, old = list(_left_beside(root, "new")), list(_left_beside(root, "old"))
    done = None
    if old and not root.exists():
        old.pop().rename(root)
        done = f"{root}: a writer was killed while it replaced this artifact; the old one is back"
    for entry in (*left, *old):
        shutil.rmtree(entry, ignore_errors=True)
    return done


def _left_beside(root: Path, kind: str) -> Iterator[Path]:
    """Directories whose names are exactly those that a writer gives: another output may have a name that begins so."""
    begin = _beside(root, kind)
    for entry in root.parent.iterdir():
        ending = entry.name.removeprefix(begin)
        made = entry.name.startswith(begin) and _LEFT[kind].fullmatch(ending)
        if made and entry.is_dir() and not entry.is_symlink():
            yield entry


def _beside(root: Path, kind: str) -> str:
    """How the names begin of what a writer has beside an artifact for a moment."""
    return f".{root.name}.{kind}-"


def check_replaceable(path: str | Path) -> None:
    """Raises ArtifactError unless nothing stands there, an empty directory, or an artifact and nothing beside it."""
    root = Path(path)
    if not root.exists() and not root.is_symlink():
        return
    if not (root.is_dir() and not root.is_symlink() and _holds_nothing_else(root)):
        raise ArtifactError(f"{root}: exists and is no artifact; choose another --out or remove it")


def _holds_nothing_else(root: Path) -> bool:
    names = {entry.name for entry in root.iterdir()}
    if not names:
        return True
    try:
        written = Manifest.from_json((root / MANIFEST).read_text("utf-8")).files
    except (OSError, UnicodeDecodeError, ArtifactError):
        return False
    return names <= {MANIFEST, *written}


def _inside(root: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or len(pure.parts) != 1 or pure.name in ("", ".", "..", MANIFEST) or "\\" in name:
        raise ArtifactError(f"{root}: {name!r} is not a plain file name")
    file = root / name
    if file.is_symlink():
        raise ArtifactError(f"{root}: {name} is a link; an artifact holds plain files")
    return file
