"""Weights as integers: symmetric, with one scale for each output."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Without VNNI two products of an unsigned and a signed byte are added in 16 bits: 2 * 255 * 127 does not fit there,
# 2 * 255 * 64 does. So 7 bits are right on every CPU.
EVERYWHERE = 7
MOVED = 0.65  # of the unevenness of inputs, to the weights


def quantised(weight: Tensor, bits: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """weight [out, in] -> whole numbers [out, in] of so many bits, and scales [out]."""
    scale, whole = scaled(weight, bits)
    return whole.to(torch.int8).cpu().numpy(), scale.squeeze(1).float().cpu().numpy()


def rounded(weight: Tensor, bits: int) -> Tensor:
    """weight [..., in] as its quantised form gives it back."""
    scale, whole = scaled(weight, bits)
    return whole * scale


def scaled(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scales [..., 1], and weight in units of them, rounded."""
    most = 2 ** (bits - 1) - 1
    scale = weight.detach().abs().amax(-1, keepdim=True) / most
    scale = torch.where(scale > 0, scale, 1.0)
    return scale, (weight.detach() / scale).round()


def even(largest: Tensor, weight: Tensor) -> Tensor:
    """Factors [..., in] by which inputs are to be divided, and weights multiplied, before both are quantised.

    largest: magnitude of each input, [..., in]. weight: [..., out, in]. Inputs that are much larger than the others
    would make their common scale coarse; the weights, which have a scale an output, take a part of that over
    (SmoothQuant, Xiao et al. 2023, arXiv 2211.10438).
    """
    smallest = 1e-5
    columns = weight.detach().abs().amax(-2).clamp_min(smallest)
    factors = largest.clamp_min(smallest) ** MOVED / columns ** (1 - MOVED)
    return factors / factors.median(-1, keepdim=True).values
