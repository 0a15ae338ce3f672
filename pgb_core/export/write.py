"""From a compact model to a verified artifact: graph, parity gate, manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from pgb_core import __version__, artifact, export
from pgb_core.artifact import Artifact, Manifest
from pgb_core.checkpoints.load import Checkpoint
from pgb_core.export import parity, probes
from pgb_core.model import rebuild
from pgb_core.model.encoder import Encoder
from pgb_core.plan import Plan
from pgb_core.tasks.features import Features


def write(
    out: str | Path,
    checkpoint: Checkpoint,
    model: Encoder,
    plan: Plan,
    target: str,
    features: Sequence[Features],
    provenance: Mapping[str, Any],
    measured: Mapping[str, Any],
    max_length: int,
    weights: bool = False,
    ready: Callable[[str], None] = lambda digest: None,
) -> Artifact:
    """Build the graph, hold it against the model, and write the artifact whole or not at all.

    Without `features` it is held against the model on inputs made from the vocabulary. ready: as `write_artifact` has
    it.
    """
    proto = export.channels_first(model, target)
    content = proto.SerializeToString(deterministic=True)
    made = probes.made_up(checkpoint.tokenizer, model.config, (*probes.LENGTHS, max_length))
    held = parity.check_graph(model, content, features or made)
    plan_json = plan.to_json()
    manifest = Manifest(
        name=Path(out).name,
        task=checkpoint.task.name,
        architecture=checkpoint.architecture,
        labels=checkpoint.labels,
        activation=checkpoint.subject.objective.activation,
        max_length=max_length,
        pad_id=model.config.pad_id,
        inputs=tuple(export.input_names(model)),
        outputs=tuple(output.name for output in proto.graph.output),
        target=target,
        opset=export.OPSET,
        contrib_opset=export.CONTRIB_OPSET,
        contrib_ops=contrib_ops(proto),
        weights={"kept": plan.cost, "dense": plan.dense_cost},
        plan_digest=_sha256(plan_json),
        provenance={
            "checkpoint": checkpoint.source,
            "checkpoint_sha256": checkpoint.digest,
            "problem_type": checkpoint.problem_type,
            "pgb_serve": __version__,
            **provenance,
        },
        measured={**measured, "parity": asdict(held)},
    )
    files = {
        artifact.MODEL: content,
        artifact.TOKENIZER: checkpoint.reading.file(),
        artifact.PLAN: plan_json.encode(),
        artifact.CHECK: probes.expectations(model, made[: len(probes.LENGTHS)]).encode(),
    }
    if weights:
        files[artifact.WEIGHTS] = rebuild.weights_of(model)
    return artifact.write_artifact(out, manifest, files, ready)


def contrib_ops(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Operators outside the ONNX standard that the graph needs."""
    return tuple(sorted({node.op_type for node in proto.graph.node if node.domain}))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
