"""Models with random weights in BERT-base's shape, and artifacts of them: for what depends on shapes alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch

from pgb_core import artifact
from pgb_core.artifact import Artifact, Manifest
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.data import read_data
from pgb_core.export.builder import CONTRIB_OPSET, OPSET
from pgb_core.export.forms import form_of
from pgb_core.export.parts import input_names
from pgb_core.export.ranges import observe
from pgb_core.export.write import built, record_of
from pgb_core.inference.tokens import Tokens
from pgb_core.learn import fisher
from pgb_core.measure.bench import random_feed
from pgb_core.model.encoder import Encoder, EncoderConfig
from pgb_core.plan import Plan, Role, Site
from pgb_core.search.importance import importance
from pgb_core.search.kept import importance_kept
from pgb_core.tasks import TASKS
from pgb_core.tasks.classification import encode_texts
from pgb_core.tasks.features import batches

BASE = EncoderConfig(
    vocab=30522,
    positions=512,
    types=2,
    embedding=768,
    hidden=768,
    layers=12,
    heads=12,
    ffn=3072,
    norm_eps=1e-12,
    activation="gelu",
    head_activation=None,
    labels=2,
    task="qa",
    pad_id=0,
    counts_padding=True,
)


def real_importance(checkpoint: Path, texts: Path, rows: int) -> dict[Site, torch.Tensor]:
    """Scores of a fine-tuned 6-layer model, stretched to BERT-base: layer n comes from layer n // 2."""
    loaded = load_checkpoint(checkpoint)
    model = loaded.model
    picked = read_data(texts, "texts").rows[:: max(1, 60_000 // rows)][:rows]
    features = encode_texts(picked, [None] * len(picked), loaded.tokenizer, 128)
    scores = fisher.fisher(
        model, batches(features, 2048, model.config.pad_id), loaded.subject.objective, 0, from_predictions=True
    )
    found = {}
    for site, linear in model.sites().items():
        values = importance(linear.to_dense().detach(), scores[site])
        out = BASE.ffn if site.role is Role.FFN_IN else BASE.hidden
        size = BASE.ffn if site.role is Role.FFN_OUT else BASE.hidden
        wide = values.repeat_interleave(out // values.shape[0], 0).repeat_interleave(size // values.shape[1], 1)
        for layer in (2 * site.layer, 2 * site.layer + 1):
            found[Site(layer, site.role)] = wide
    return found


def by_nncf(model: Encoder, plan: Plan, out: Path) -> Artifact | None:
    """The form that OpenVINO's own NNCF makes of a model, with static scales for every product; None without NNCF."""
    try:
        import nncf
    except ImportError:
        return None
    graph = onnx.load_from_string(built(form_of("openvino"), model, {})[1])
    rows = [random_feed(input_names(model), (1, 64))] * 8
    kind = nncf.ModelType.TRANSFORMER
    found = nncf.quantize(graph, nncf.Dataset(rows), model_type=kind, subset_size=len(rows))
    return artifact_of(model, plan, ("openvino-int8",), out, {"openvino-int8": found.SerializeToString()})


def artifact_of(
    model: Encoder, plan: Plan, forms: Sequence[str], out: Path, contents: Mapping[str, bytes] | None = None
) -> Artifact:
    """An artifact that is only timed: it has no tokenizer, and its forms are held against nothing.

    contents: of forms that are made elsewhere.
    """
    files: dict[str, bytes] = {artifact.TOKENIZER: b"{}", artifact.PLAN: plan.to_json().encode()}
    records = {}
    ids = torch.randint(model.config.vocab, (4, 32), generator=torch.Generator().manual_seed(0)).tolist()
    check = json.dumps({"inputs": [{"ids": row} for row in ids]}).encode()
    ranges = observe(model, [Tokens(row, [0] * len(row)) for row in ids])
    for name in forms:
        file, content, beyond = built(form_of(name), model, ranges)
        records[name] = record_of(form_of(name), file, beyond)
        files |= {file: (contents or {}).get(name, content), records[name].check: check}
    manifest = Manifest(
        name=out.name,
        task=model.config.task,
        architecture="bert",
        labels=(),
        activation="softmax",
        max_length=model.config.positions,
        pad_id=model.config.pad_id,
        inputs=tuple(input_names(model)),
        outputs=TASKS[model.config.task].outputs,
        opset=OPSET,
        contrib_opset=CONTRIB_OPSET,
        forms=records,
        weights={"kept": plan.cost, "dense": plan.dense_cost},
        plan_digest=hashlib.sha256(plan.to_json().encode()).hexdigest(),
    )
    return artifact.write_artifact(out, manifest, files)


def kept_share(plan: Plan, importances: Mapping[Site, torch.Tensor]) -> float:
    """Share of all importance that a plan keeps, up to four digits."""
    return round(importance_kept(plan, importances), 4)
