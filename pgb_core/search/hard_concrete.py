"""Hard Concrete gates: random numbers in [0, 1] that may be exactly 0 or 1 and pass gradients (Louizos et al. 2018).

A binary concrete number is sigmoid((logit(u) + log_alpha) / temperature) of a uniform number u. It is stretched to
(`LOW`, `HIGH`), which is wider than [0, 1], and then cut to [0, 1] (arXiv 1712.01312, equations 10 to 13).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 0.33  # of Voita et al. 2019
LOW, HIGH = -0.1, 1.1  # of which the first is below 0, as no gate would ever be 0 otherwise
EDGE = 1e-6  # uniform numbers stay so far from 0 and 1


def sampled(log_alpha: Tensor, uniform: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """A gate each, 0 to 1, with gradients to log_alpha. uniform: of the same shape, 0 to 1."""
    noise = uniform.clamp(EDGE, 1 - EDGE)
    return _stretched(torch.sigmoid((noise.logit() + log_alpha) / temperature))


def settled(log_alpha: Tensor) -> Tensor:
    """The gates without chance, 0 to 1, as they are used after training; many are exactly 0 or 1."""
    return _stretched(torch.sigmoid(log_alpha))


def open_probability(log_alpha: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The chance that a sampled gate is above 0."""
    return torch.sigmoid(log_alpha - temperature * math.log(-LOW / HIGH))


def _stretched(concrete: Tensor) -> Tensor:
    """From (0, 1) to (`LOW`, `HIGH`), cut to [0, 1]."""
    return (concrete * (HIGH - LOW) + LOW).clamp(0, 1)
