"""Writes the `config.pbtxt` with which Triton Inference Server runs a graph of an artifact."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pgb_core.artifact import GRAPH, Artifact, Manifest
from pgb_core.errors import ConfigError

MAX_BATCH = 32
_QUEUE_MICROSECONDS = 500


def config(artifact: Artifact, form: str | None = None) -> str:
    """For the ONNX Runtime backend. form: by default the first that is a graph.

    Raises ArtifactError when the artifact does not carry the form, ConfigError when that backend does not run it.
    """
    manifest = artifact.manifest
    graphs = [
        name
        for name, record in manifest.forms.items()
        if record.file.endswith(GRAPH) and "onnxruntime" in record.runtimes
    ]
    chosen = form or next(iter(graphs), None)
    if chosen is None or (artifact.form(chosen) and chosen not in graphs):
        raise ConfigError(
            f"--triton: {artifact.path} has {', '.join(graphs) or 'no form'} for ONNX Runtime; "
            "pgb compress --forms fp32 makes one"
        )
    record = manifest.forms[chosen]
    kind = "KIND_GPU" if record.devices[0] == "cuda" else "KIND_CPU"
    lines = [
        "# Tokens in, logits out: texts are tokenised, and inputs padded to one length, by whoever calls.",
        "# Inputs of one length share a batch. Put the graph beside this file as 1/" + record.file + ".",
        f"name: {_text(manifest.name)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {_text(record.file)}",
        f"max_batch_size: {MAX_BATCH}",
        _tensors("input", [(name, "TYPE_INT64", [-1]) for name in manifest.inputs]),
        _tensors("output", [(name, "TYPE_FP32", [_width(manifest)]) for name in manifest.outputs]),
        f"dynamic_batching {{\n  max_queue_delay_microseconds: {_QUEUE_MICROSECONDS}\n}}",
        f"instance_group [\n  {{\n    count: 1\n    kind: {kind}\n  }}\n]",
    ]
    return "\n".join(lines) + "\n"


def _width(manifest: Manifest) -> int:
    """Labels, or as many as there are tokens."""
    return len(manifest.labels) or -1


def _tensors(field: str, tensors: Sequence[tuple[str, str, Sequence[int]]]) -> str:
    entries = [
        f"  {{\n    name: {_text(name)}\n    data_type: {kind}\n    dims: {json.dumps(list(dims))}\n  }}"
        for name, kind, dims in tensors
    ]
    return f"{field} [\n" + ",\n".join(entries) + "\n]"


def _text(value: str) -> str:
    """In quotes, as the text form of protobuf has them."""
    return json.dumps(value, ensure_ascii=False)
