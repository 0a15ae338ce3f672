"""A first forward pass, whose logits are compared with those that the artifact carries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pgb_core.artifact import FP32, Artifact, Manifest
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Runtime
from pgb_core.inference.tasks import TASKS
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens


def self_check(runtime: Runtime, artifact: Artifact, form: str = FP32) -> float:
    """Run the artifact's own inputs in one batch; the largest difference of a logit from what the form must give.

    Raises RuntimeUnavailable when the runtime fails, or logits are not finite, of another shape, or further off than
    the form's tolerance times the largest logit, or than the tolerance where that is below 1.
    """
    manifest = artifact.manifest
    inputs, wanted = _expected(artifact.check(form), manifest)
    try:
        found = runtime.run(inputs)
    except Exception as error:  # every runtime raises its own
        raise RuntimeUnavailable(
            f"{manifest.name}: the runtime fails on the artifact's check; try another runtime"
        ) from error
    shapes = [logits.shape for logits in found]
    if shapes != [_shape(tokens, manifest) for tokens in inputs]:
        raise RuntimeUnavailable(f"{manifest.name}: the runtime's logits have shapes {shapes}; make the artifact again")
    if not all(np.isfinite(logits).all() for logits in found):
        raise RuntimeUnavailable(f"{manifest.name}: the runtime gives logits that are not finite; choose another form")
    difference = max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))
    largest = max(float(np.abs(logits).max()) for logits in wanted)
    allowed = artifact.form(form).tolerance * max(1.0, largest)
    if difference > allowed:
        raise RuntimeUnavailable(
            f"{manifest.name}: the runtime's logits are {difference:.2g} off the artifact's own, at most {allowed:.2g} "
            f"is allowed of form {form}; choose another form or runtime"
        )
    return difference


def known_ids(artifact: Artifact, form: str = FP32) -> list[int]:
    """Ids that the model has a row for, whatever its vocabulary, ascending: those of the form's check but padding.

    Where only the time of a run counts, inputs are made of them. Raises RuntimeUnavailable when the check
    cannot be read.
    """
    manifest, path = artifact.manifest, artifact.check(form)
    try:
        found = {int(number) for entry in json.loads(path.read_text("utf-8"))["inputs"] for number in entry["ids"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, manifest) from error
    if not found:
        raise _unreadable(path, manifest)
    return sorted(found - {manifest.pad_id}) or [manifest.pad_id]


def _expected(path: Path, manifest: Manifest) -> tuple[list[Tokens], list[Logits]]:
    try:
        given = json.loads(path.read_text("utf-8"))["inputs"]
        inputs = [Tokens(entry["ids"], entry["types"]) for entry in given]
        wanted = [np.asarray(entry["logits"], np.float32) for entry in given]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, manifest) from error
    if not inputs or [w.shape for w in wanted] != [_shape(tokens, manifest) for tokens in inputs]:
        raise RuntimeUnavailable(f"{manifest.name}: {path.name} does not fit the manifest; make the artifact again")
    return inputs, wanted


def _unreadable(path: Path, manifest: Manifest) -> RuntimeUnavailable:
    return RuntimeUnavailable(f"{manifest.name}: {path.name} cannot be read; make the artifact again")


def _shape(tokens: Tokens, manifest: Manifest) -> tuple[int, ...]:
    return TASKS[manifest.task].shape(len(tokens), len(manifest.labels))
