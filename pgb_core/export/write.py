"""Writes a verified artifact from a compact model: its forms, each compared with the model, and the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pgb_core import __version__, artifact
from pgb_core.artifact import Artifact, FormRecord, Manifest
from pgb_core.checkpoints.load import Checkpoint
from pgb_core.errors import ParityError
from pgb_core.export import companions, parity, probes
from pgb_core.export.agreement import Agreement, agreement
from pgb_core.export.builder import CONTRIB_OPSET, OPSET
from pgb_core.export.card import card
from pgb_core.export.forms import Form, form_of
from pgb_core.export.parts import input_names
from pgb_core.export.ranges import Ranges, observe
from pgb_core.inference.batches import Predict, run_all
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Runtime
from pgb_core.inference.runtimes.registry import open_runtime, version_of
from pgb_core.machine import processor
from pgb_core.model import rebuild
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.plan import Plan
from pgb_core.tasks import TASKS
from pgb_core.tasks.features import Features
from pgb_core.tasks.metrics import Metrics

FEW = 64  # rows of data, below which a form is not refused for what it loses; the service then asks for more to pick it
MOST_COMPARED = 512  # inputs on which a low-precision form is held against the model


def _nothing_to_judge(predict: Predict) -> Metrics | None:
    return None


@dataclass(frozen=True)
class Made:
    """What an artifact is made of.

    forms: that it is to carry, by name. features: inputs on which they are held against the model; without any it is
    inputs made from the vocabulary. observed: inputs that forms take their ranges from; without any, scales are
    computed as inputs come. reference: metrics of the model on labelled rows; judge: those of whatever gives logits,
    on the same rows. provenance and measured: for the manifest. threads: to run the forms on. tried: whether
    they are run at all, and held against the model. rows: of data among the features.
    """

    checkpoint: Checkpoint
    model: Encoder
    plan: Plan
    forms: Sequence[str] = ("fp32",)
    features: Sequence[Features] = ()
    observed: Sequence[Features] = ()
    reference: Metrics | None = None
    judge: Callable[[Predict], Metrics | None] = _nothing_to_judge
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 0
    tried: bool = True
    rows: int = 0


def write(out: str | Path, made: Made, ready: Callable[[str], None] = lambda digest: None) -> Artifact:
    """Build every form, hold it against the model, and write the artifact whole or not at all.

    ready: as `write_artifact` has it. Raises ParityError, ArtifactError or ResourceError.
    """
    model = made.model
    inputs = probes.made_up(made.checkpoint.tokenizer, model.config, (*probes.LENGTHS, made.checkpoint.max_length))
    expected = probes.expectations(torch_predictor(model), inputs[: len(probes.LENGTHS)])
    files = {
        artifact.TOKENIZER: made.checkpoint.reading.file(),
        artifact.PLAN: made.plan.to_json().encode(),
    }
    records = {}
    ranged = any(form_of(name).numbers == "int8" for name in made.forms)  # no others ask for ranges
    ranges = observe(model, [feature.tokens for feature in made.observed]) if ranged else {}
    for name in made.forms:
        file, content, contrib_ops = built(form_of(name), model, ranges)
        files |= {file: content, artifact.check_name(name): expected}
        records[name] = record_of(form_of(name), file, contrib_ops)
    manifest = _manifest(Path(out).name, made, records)
    files |= {
        artifact.CONFIG: companions.config(made.checkpoint, manifest),
        artifact.TOKENIZER_CONFIG: companions.tokenizer_config(made.checkpoint.reading, manifest),
    }
    if not made.tried:
        return artifact.write_artifact(out, manifest, _with_card(manifest, files), ready)
    with artifact.scratch_beside(out) as scratch:  # where there is room for the artifact, there is room to try it
        draft = artifact.write_artifact(scratch / "draft", manifest, files)
        parities: list[dict[str, Any]] = []
        for name, record in records.items():
            records[name], check = _tried(draft, form_of(name), record, made, inputs)
            files[record.check] = check or files[record.check]
            if "parity" in records[name].measured:
                parities.append(records[name].measured["parity"])
    worst = {"parity": max(parities, key=lambda one: float(one["max_difference"]))} if parities else {}
    manifest = replace(manifest, forms=records, measured={**made.measured, **worst})
    return artifact.write_artifact(out, manifest, _with_card(manifest, files), ready)


def built(form: Form, model: Encoder, ranges: Ranges) -> tuple[str, bytes, tuple[str, ...]]:
    """The file's name, its content, and the operators beyond ONNX that it has."""
    if form.build is None:
        return artifact.WEIGHTS, rebuild.weights_of(model), ()
    proto = form.build(model, ranges)
    beyond = tuple(sorted({node.op_type for node in proto.graph.node if node.domain}))
    return artifact.graph_name(form.name), proto.SerializeToString(deterministic=True), beyond


def record_of(form: Form, file: str, contrib_ops: tuple[str, ...]) -> FormRecord:
    """What the manifest says of a form that has not been run."""
    check = artifact.check_name(form.name)
    return FormRecord(file, check, form.numbers, form.runtimes, form.devices, form.tolerance, contrib_ops)


def _tried(
    draft: Artifact, form: Form, record: FormRecord, made: Made, inputs: Sequence[Features]
) -> tuple[FormRecord, bytes | None]:
    """What is known of a form once it has run, and the logits that it gave to its check; None for the model's own.

    A form whose runtime or device is not here has run nowhere, and is held to the model's logits when it does.
    """
    runtime = _opened(draft, form, made.threads)
    if runtime is None:
        return record, None
    try:
        kind = form.runtimes[0]
        ran = {"runtime": f"{kind} {version_of(kind)}", "device": runtime.device, "processor": processor()}
        record = replace(record, ran=ran)
        compared = list(made.features or inputs)
        if form.limits is not None:
            found, check = _compared(form, runtime, made, compared[:MOST_COMPARED], inputs[: len(probes.LENGTHS)])
            if made.rows >= FEW:
                found.check(form.name, form.limits)
            return replace(record, measured=found.as_json()), check
        if form.build is None:
            return record, None
        held = asdict(parity.check_graph(made.model, draft.graph(form.name).read_bytes(), compared))
        return replace(record, measured={"parity": held}), None
    finally:
        runtime.close()


def _compared(
    form: Form, runtime: Runtime, made: Made, features: Sequence[Features], inputs: Sequence[Features]
) -> tuple[Agreement, bytes]:
    """How far a form in low precision agrees with the model, and the logits that it gives to its check, of `inputs`."""
    picked = [feature.tokens for feature in features]
    want = run_all(torch_predictor(made.model), picked)
    try:
        got, judged = run_all(runtime.run, picked), made.judge(runtime.run)
        check = probes.expectations(runtime.run, inputs)
    except Exception as error:  # every runtime raises its own
        raise ParityError(
            f"form {form.name} fails where it was tried ({type(error).__name__}: {error}). Leave it out of "
            f"--forms, and add --plan-for {form.name} if it decided the plan: then all that was done counts"
        ) from error
    return agreement(want, got, made.checkpoint.subject.objective.activation, made.reference, judged), check


def _opened(draft: Artifact, form: Form, threads: int) -> Runtime | None:
    """On the first of its devices that is here."""
    for device in form.devices:
        with suppress(RuntimeUnavailable):
            return open_runtime(draft, form.name, device, threads)
    return None


def _with_card(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {**files, artifact.CARD: card(manifest, {name: len(content) for name, content in files.items()})}


def _manifest(name: str, made: Made, forms: Mapping[str, FormRecord]) -> Manifest:
    checkpoint, config = made.checkpoint, made.model.config
    return Manifest(
        name=name,
        task=checkpoint.task.name,
        architecture=checkpoint.architecture,
        labels=checkpoint.labels,
        activation=checkpoint.subject.objective.activation,
        max_length=checkpoint.max_length,
        pad_id=config.pad_id,
        inputs=tuple(input_names(made.model)),
        outputs=TASKS[checkpoint.task.name].outputs,
        opset=OPSET,
        contrib_opset=CONTRIB_OPSET,
        forms=forms,
        weights={"kept": made.plan.cost, "dense": made.plan.dense_cost},
        plan_digest=hashlib.sha256(made.plan.to_json().encode()).hexdigest(),
        provenance={
            "checkpoint": checkpoint.source,
            "checkpoint_sha256": checkpoint.digest,
            "problem_type": checkpoint.problem_type,
            "pgb_serve": __version__,
            **made.provenance,
        },
    )
