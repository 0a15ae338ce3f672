"""Fixed attention as matrices of weights; `pgb_core.export.patterns` writes the same to graphs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pgb_core.plan import Pattern


def pattern_weights(pattern: Pattern, real: Tensor) -> Tensor:
    """What each token attends to, [batch, tokens, tokens] of float32; each row adds up to one.

    real: [batch, tokens], whether a token is no padding. Padding comes last, and no real token attends to it.
    """
    batch, tokens = real.shape
    place = torch.arange(tokens, device=real.device).expand(batch, -1)
    count = real.sum(1, keepdim=True)
    last = count - 1
    if pattern is Pattern.UNIFORM:
        return (real / count).unsqueeze(1).expand(-1, tokens, -1)
    if pattern.context:
        return _context(place if pattern is Pattern.LEFT else last - place)
    targets = {
        Pattern.CURRENT: place,
        Pattern.PREVIOUS: (place - 1).clamp_min(0),
        Pattern.NEXT: torch.minimum(place + 1, last),
        Pattern.START: torch.zeros_like(place),
        Pattern.END: last.expand(-1, tokens),
    }
    return functional.one_hot(targets[pattern], tokens).float()


def _context(place: Tensor) -> Tensor:
    """Weights of the tokens on one side. place: [batch, tokens], from the far end of that side; below 0 for padding."""
    here, there = place.unsqueeze(2), place.unsqueeze(1)
    share = ((there + 1) / (here - 1).clamp_min(1)).clamp(
        0, 1
    )  # of the furthest place in reach, so that no cube is large
    weights = torch.where(there <= here - 2, share**3, 0.0)
    weights = torch.where(here < 2, (there == here).float(), weights)
    return weights / weights.sum(-1, keepdim=True)
