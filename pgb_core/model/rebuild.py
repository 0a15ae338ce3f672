"""Saves a compact encoder as one file of tensors and loads it again. With the plan, this is all that PyTorch needs."""

from __future__ import annotations

import json
from dataclasses import asdict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pgb_core.artifact import WEIGHTS, Artifact
from pgb_core.errors import ArtifactError, PlanError
from pgb_core.model import surgery
from pgb_core.model.encoder import Encoder, EncoderConfig
from pgb_core.plan import Plan

_CONFIG = "encoder"


def weights_of(model: Encoder) -> bytes:
    """All tensors in safetensors form; the metadata holds the dense encoder's configuration."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    return save(tensors, {_CONFIG: json.dumps(asdict(model.config), allow_nan=False)})


def encoder_of(artifact: Artifact) -> Encoder:
    """The encoder that the artifact was exported from, on CPU in float32. Raises ArtifactError."""
    if artifact.weights is None:
        raise ArtifactError(f"{artifact.path}: holds no {WEIGHTS}; compress again with --forms fp32,torch")
    try:
        with safe_open(artifact.weights, framework="pt") as file:
            found = json.loads(file.metadata()[_CONFIG])
            config = EncoderConfig(**{"embedding": found["hidden"], **found})  # earlier files have no other width
            # Copies: what is read is a view of the file, which may be written over while the model is in use.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
        with torch.device("meta"):
            dense = Encoder(config)
        model = surgery.apply_plan(dense, Plan.from_json(artifact.plan.read_text("utf-8")))
        model.load_state_dict(tensors, assign=True)
    except (PlanError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{artifact.path}: {WEIGHTS} does not fit the plan; make the artifact again") from error
    return model.eval()
