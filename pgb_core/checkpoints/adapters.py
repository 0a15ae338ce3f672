"""Merge the demo's own LoRA adapters, which are kept in the PEFT directory format, into their base weights.

Adapters that are given as checkpoints are merged by PEFT itself: see `peft_adapter.py`. This module reads
`adapter_config.json` and `adapter_model.safetensors` as PEFT writes them. It adds `(alpha / r) B A` to W for each pair,
and replaces whole parameters (biases, `modules_to_save`). It runs no code of the base or the adapter.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pgb_core.checkpoints.architectures import ARCHITECTURES
from pgb_core.checkpoints.config import architecture_of
from pgb_core.checkpoints.files import read_json
from pgb_core.errors import CheckpointError

PREFIX = "base_model.model."
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def merge(base: Path, adapter: Path, out: Path, head: dict[str, Any]) -> Path:
    """Write a complete Hugging Face checkpoint to `out`.

    head: entries that turn the base's config into the task's (architectures, labels).
    Raises CheckpointError when a file is missing, the base is of no known architecture, or shapes do not fit.
    """
    settings = read_json(adapter / ADAPTER_CONFIG)
    if settings.get("peft_type") != "LORA" or settings.get("use_rslora") or settings.get("use_dora"):
        raise CheckpointError(f"{adapter}: only plain LoRA adapters are merged, not {settings.get('peft_type')}")
    given = read_json(base / "config.json")
    prefix = ARCHITECTURES[architecture_of(given, base)].prefix
    given_state = _tensors(base / "model.safetensors").items()
    state = {f"{prefix}.{name.removeprefix(f'{prefix}.')}": value for name, value in given_state}
    merged = merge_state(state, _tensors(adapter / ADAPTER_WEIGHTS), settings["lora_alpha"] / settings["r"])
    config = {**given, **head}
    out.mkdir(parents=True, exist_ok=True)
    save_file(merged, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", "utf-8")
    for name in TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)
    return out


def merge_state(base: dict[str, Tensor], adapter: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Base parameters with the adapter's added and replaced, in float16 as small checkpoints are kept."""
    merged = dict(base)
    for key, value in adapter.items():
        name = key.removeprefix(PREFIX).replace(".base_layer.", ".").replace(".modules_to_save.", ".")
        if name.endswith(".lora_B.weight"):
            continue
        if name.endswith(".lora_A.weight"):
            target = name.removesuffix(".lora_A.weight") + ".weight"
            up = adapter[key.replace(".lora_A.", ".lora_B.")].float()
            if target not in merged or merged[target].shape != (up.shape[0], value.shape[1]):
                raise CheckpointError(f"adapter: {target} does not fit its base; is it made for another model?")
            merged[target] = merged[target].float() + scale * (up @ value.float())
        else:
            merged[name] = value
    return {name: value.half().contiguous() for name, value in merged.items() if value.is_floating_point()}


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: missing or not safetensors") from error
