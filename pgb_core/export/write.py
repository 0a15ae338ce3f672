"""From a compact model to a verified artifact: graph, parity gate, manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgb_core import __version__, artifact
from pgb_core.artifact import Artifact, Manifest
from pgb_core.checkpoints.load import Checkpoint
from pgb_core.export import parity, probes
from pgb_core.export.builder import CONTRIB_OPSET, OPSET
from pgb_core.export.forms import FORMS
from pgb_core.export.parts import input_names
from pgb_core.model import rebuild
from pgb_core.model.encoder import Encoder
from pgb_core.plan import Plan
from pgb_core.tasks.features import Features


@dataclass(frozen=True)
class Made:
    """What an artifact is made of.

    form: of its graph, by name. features: inputs on which the graph is held against the model; without any it is held
    against it on inputs made from the vocabulary. provenance and measured: for the manifest. weights: write the tensors
    too.
    """

    checkpoint: Checkpoint
    model: Encoder
    plan: Plan
    form: str = "cpu"
    features: Sequence[Features] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    weights: bool = False


def write(out: str | Path, made: Made, ready: Callable[[str], None] = lambda digest: None) -> Artifact:
    """Build the graph, hold it against the model, and write the artifact whole or not at all.

    ready: as `write_artifact` has it. Raises ParityError, ArtifactError or ResourceError.
    """
    checkpoint, model, form = made.checkpoint, made.model, FORMS[made.form]
    proto = form.build(model)
    content = proto.SerializeToString(deterministic=True)
    lengths = (*probes.LENGTHS, checkpoint.max_length)
    inputs = probes.made_up(checkpoint.tokenizer, model.config, lengths)
    held = parity.check_graph(model, content, made.features or inputs, form.tolerance)
    plan_json = made.plan.to_json().encode()
    manifest = Manifest(
        name=Path(out).name,
        task=checkpoint.task.name,
        architecture=checkpoint.architecture,
        labels=checkpoint.labels,
        activation=checkpoint.subject.objective.activation,
        max_length=checkpoint.max_length,
        pad_id=model.config.pad_id,
        inputs=tuple(input_names(model)),
        outputs=tuple(output.name for output in proto.graph.output),
        target=form.name,
        opset=OPSET,
        contrib_opset=CONTRIB_OPSET,
        contrib_ops=tuple(sorted({node.op_type for node in proto.graph.node if node.domain})),
        weights={"kept": made.plan.cost, "dense": made.plan.dense_cost},
        plan_digest=hashlib.sha256(plan_json).hexdigest(),
        provenance={
            "checkpoint": checkpoint.source,
            "checkpoint_sha256": checkpoint.digest,
            "problem_type": checkpoint.problem_type,
            "pgb_serve": __version__,
            **made.provenance,
        },
        measured={**made.measured, "parity": asdict(held)},
    )
    files = {
        artifact.MODEL: content,
        artifact.TOKENIZER: checkpoint.reading.file(),
        artifact.PLAN: plan_json,
        artifact.CHECK: probes.expectations(model, inputs[: len(probes.LENGTHS)]).encode(),
    }
    if made.weights:
        files[artifact.WEIGHTS] = rebuild.weights_of(model)
    return artifact.write_artifact(out, manifest, files, ready)
