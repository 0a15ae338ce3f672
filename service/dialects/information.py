"""Facts about what is served that more than one dialect shows."""

from __future__ import annotations

from pydantic import BaseModel

from pgb_core.machine import usable_cores
from service import __version__
from service.models.model import Model
from service.models.registry import Registry
from service.settings import Settings


class Classifier(BaseModel):
    """The labels of a classification model."""

    id2label: dict[str, str]
    label2id: dict[str, int]


class ModelType(BaseModel):
    """The kind of model that answers /predict. A model with a single label also ranks."""

    classifier: Classifier | None = None
    reranker: Classifier | None = None


class Info(BaseModel):
    """Facts about the service for TEI and Hugging Face clients. `models` has every model with its measurements."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    models: list[dict[str, object]]


def described(model: Model, registry: Registry) -> dict[str, object]:
    """A model, with the figures measured when its artifact was made."""
    manifest = model.manifest
    return {
        "name": model.name,
        "version": model.version,
        "task": manifest.task,
        "labels": list(manifest.labels),
        "activation": manifest.activation,
        "max_length": manifest.max_length,
        "share": registry.served(model.name).weights.get(model.version, 0.0),
        "weights_kept": model.weights_kept,
        "default": registry.default(manifest.task) == model.name,
        "runtime": model.kind,
        "device": model.runtime.device,
        "form": model.form,
        "why_form": model.why,
        "form_milliseconds": {name: list(times) for name, times in model.form_milliseconds.items()},
        "forms": {name: dict(record.measured) for name, record in manifest.forms.items()},
        "numbers": model.numbers,
        "threads": model.runtime.threads,
        "manifest_sha256": model.digest,
        "measured": dict(manifest.measured),
    }


def information(settings: Settings, registry: Registry, shown: Model | None) -> dict[str, object]:
    """The body of /info, which tells of one model, if there is one, what TEI would."""
    labels = shown.manifest.labels if shown else ()
    kind = "reranker" if len(labels) == 1 else "classifier"
    named = {
        "id2label": {str(n): label for n, label in enumerate(labels)},
        "label2id": {label: n for n, label in enumerate(labels)},
    }
    return {
        "model_id": shown.name if shown else "",
        "model_sha": shown.manifest.digest if shown else None,
        "model_dtype": shown.numbers if shown else "",
        "served_model_name": shown.name if shown else "",
        "model_type": {kind: named} if labels else {},
        # Limited by the tokens that may wait. Each request has at least one.
        "max_concurrent_requests": settings.max_queue_tokens,
        "max_input_length": shown.manifest.max_length if shown else 0,
        "max_batch_tokens": settings.max_batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_items,
        "auto_truncate": True,
        "tokenization_workers": usable_cores(),
        "version": __version__,
        "sha": None,
        "docker_label": None,
        "models": [described(m, registry) for m in registry.models],
    }
