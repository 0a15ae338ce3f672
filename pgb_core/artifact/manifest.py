"""The manifest: what a reader must know before it opens a model, and the hash of every other file."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pgb_core.artifact.names import COMPANIONS
from pgb_core.errors import ArtifactError

MANIFEST_SCHEMA = 2
MAX_MANIFEST_BYTES = 1 << 20
TASKS = ("classification", "qa")
SCORINGS = ("softmax", "sigmoid", "none")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = {"classification": 1, "qa": 2}
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class FormRecord:
    """One form that an artifact carries: a file that a runtime runs.

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
            raise ArtifactError(f"manifest: its schema is not {MANIFEST_SCHEMA}; {_remedy(raw)}")
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
            return cls(**raw).checked()
        except RecursionError as error:
            raise ArtifactError("manifest: it is nested too deeply; make the artifact again") from error

    @property
    def digest(self) -> str:
        """sha256 over the hashes of the files that answers depend on: equal for equal models, whenever made."""
        lines = "".join(f"{self.files[name]}  {name}\n" for name in sorted(self.files) if name not in COMPANIONS)
        return hashlib.sha256(lines.encode()).hexdigest()

    def checked(self) -> Manifest:
        """The same. Raises ArtifactError when a field is out of range, or JSON in UTF-8 cannot say it."""
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


def _remedy(raw: object) -> str:
    """What to do about a manifest of another schema."""
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, int) and schema > MANIFEST_SCHEMA:
        return "a later version of pgb-serve wrote it: install that one, or make the artifact again"
    return "make the artifact again, by pgb compress"


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
