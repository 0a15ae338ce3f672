"""From a compact model to a verified artifact: graph, parity gate, manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pgb_core import __version__, artifact, graph, probes, rebuild
from pgb_core.artifact import Artifact, Manifest
from pgb_core.encoders import Checkpoint
from pgb_core.errors import ParityError
from pgb_core.evaluate import run, torch_predictor
from pgb_core.features import Features
from pgb_core.nn.encoder import Encoder
from pgb_core.plan import GroupingPlan
from pgb_core.session import open_session, predictor

TOLERANCE = 1e-4
PARITY_INPUTS = 256


@dataclass(frozen=True)
class Parity:
    """Exported graph against PyTorch on real inputs, float32."""

    inputs: int
    max_difference: float
    same_answers: int


def check_parity(model: Encoder, onnx_bytes: bytes, features: Sequence[Features]) -> Parity:
    """Compare on up to 256 inputs, alone and in padded batches. Raises ParityError when they differ."""
    chosen = list(features[:PARITY_INPUTS])
    pad_id = model.config.pad_id
    predict = predictor(open_session(onnx_bytes))
    want = run(torch_predictor(model), chosen, pad_id, tokens=4096)
    got = run(predict, chosen, pad_id, tokens=4096)
    got += run(predict, chosen[:16], pad_id, tokens=1)
    want += want[:16]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(want, got, strict=True))
    same = [_answer(a) == _answer(b) for a, b in zip(want, got, strict=True)]
    parity = Parity(len(chosen), difference, sum(same[: len(chosen)]))
    if not difference <= TOLERANCE or not all(same):
        raise ParityError(
            f"the exported graph differs from PyTorch by {difference:.2e} (at most {TOLERANCE:.0e} is allowed), "
            f"{same.count(False)} of {len(same)} answers change; please report the checkpoint"
        )
    return parity


def activation_of(checkpoint: Checkpoint) -> str:
    """What turns logits into scores, by the checkpoint's config."""
    if checkpoint.task == "qa":
        return "softmax"
    if checkpoint.problem_type == "regression":
        return "none"
    if checkpoint.problem_type == "multi_label_classification" or len(checkpoint.labels) == 1:
        return "sigmoid"
    return "softmax"


def write(
    out: str | Path,
    checkpoint: Checkpoint,
    model: Encoder,
    plan: GroupingPlan,
    target: str,
    features: Sequence[Features],
    provenance: Mapping[str, Any],
    measured: Mapping[str, Any],
    max_length: int,
    weights: bool = False,
) -> Artifact:
    """Build the graph, hold it against the model, and write the artifact whole or not at all.

    Without `features` it is held against the model on inputs made from the vocabulary.
    """
    proto = graph.channels_first(model, target)
    content = proto.SerializeToString(deterministic=True)
    made = probes.made_up(checkpoint.tokenizer, model.config, (*probes.LENGTHS, max_length))
    parity = check_parity(model, content, features or made)
    plan_json = plan.to_json()
    manifest = Manifest(
        name=Path(out).name,
        task=checkpoint.task,
        architecture=checkpoint.architecture,
        labels=checkpoint.labels,
        activation=activation_of(checkpoint),
        max_length=max_length,
        pad_id=model.config.pad_id,
        inputs=tuple(graph.input_names(model)),
        outputs=tuple(output.name for output in proto.graph.output),
        target=target,
        opset=graph.OPSET,
        contrib_opset=graph.CONTRIB_OPSET,
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
        measured={**measured, "parity": asdict(parity)},
    )
    files = {
        artifact.MODEL: content,
        artifact.TOKENIZER: checkpoint.tokenizer.to_str().encode(),
        artifact.PLAN: plan_json.encode(),
        artifact.CHECK: probes.expectations(model, made[: len(probes.LENGTHS)]).encode(),
    }
    if weights:
        files[artifact.WEIGHTS] = rebuild.weights_of(model)
    return artifact.write_artifact(out, manifest, files)


def contrib_ops(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Operators outside the ONNX standard that the graph needs."""
    return tuple(sorted({node.op_type for node in proto.graph.node if node.domain}))


def _answer(logits: NDArray[np.float32]) -> tuple[int, ...]:
    return tuple(int(n) for n in np.atleast_1d(logits.argmax(0)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
