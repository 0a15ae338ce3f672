"""Writes `config.json` and `tokenizer_config.json`, with which transformers and Optimum open an artifact.

The two files repeat facts of the manifest and of `tokenizer.json` in the format that those libraries read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pgb_core.artifact import Manifest
from pgb_core.checkpoints.load import Checkpoint
from pgb_core.checkpoints.tokenization import Tokenization

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def config(checkpoint: Checkpoint, manifest: Manifest) -> bytes:
    """`config.json`: the dense model's shape, labels and problem type, and under `pgb` what was made of it."""
    labels = manifest.labels
    named: dict[str, Any] = {}
    if labels:
        named["id2label"] = {str(number): label for number, label in enumerate(labels)}
        named["label2id"] = {label: number for number, label in enumerate(labels)}
        named["problem_type"] = checkpoint.problem_type
    left_out = {"id2label", "label2id", "problem_type"}
    shape = {name: value for name, value in checkpoint.passed_on.items() if name not in left_out}
    made = {
        "task": manifest.task,
        "activation": manifest.activation,
        "max_length": manifest.max_length,
        "weights": dict(manifest.weights),
        "files": {name: record.file for name, record in manifest.forms.items()},
    }
    return _json({**shape, **named, "pgb": made})


def tokenizer_config(reading: Tokenization, manifest: Manifest) -> bytes:
    """`tokenizer_config.json`: that `tokenizer.json` is to be read as it is, and what it does not say itself."""
    found: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": manifest.max_length,
        "model_input_names": list(manifest.inputs),
        "truncation_side": reading.side,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
    }
    for name, token in reading.reference.special_tokens_map.items():
        if name in _NAMED and reading.tokenizer.token_to_id(str(token)) is not None:
            found[name] = str(token)
    # transformers sets it in the tokenizer, to false where the settings do not say it.
    blank = (json.loads(reading.tokenizer.to_str()).get("pre_tokenizer") or {}).get("add_prefix_space")
    if blank is not None:
        found["add_prefix_space"] = blank
    return _json(found)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
