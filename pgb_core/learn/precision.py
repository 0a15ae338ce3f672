"""The numbers that training computes with: bfloat16 in matrix products where that is faster, float32 otherwise."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from pgb_core.machine import instruction_sets

Model = TypeVar("Model", bound=nn.Module)


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context in which matrix products of a device are in bfloat16 if it multiplies that faster than float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device))


def prepared(model: Model, device: torch.device) -> Model:
    """A model that is not trained, with its matrices in bfloat16 where it computes in that.

    It computes the same in `mixed_precision`, which would convert the matrices in every pass.
    """
    if not fast_bf16(device):
        return model
    ready = copy.deepcopy(model)
    for module in ready.modules():
        if isinstance(module, nn.Linear):
            module.to(torch.bfloat16)
    return ready


def fast_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # ONEDNN_MAX_CPU_ISA may forbid these instructions; bfloat16 is then many times slower than float32.
    allowed = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "avx512_bf16" in instruction_sets() and bool(allowed)
