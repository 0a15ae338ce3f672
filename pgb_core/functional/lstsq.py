"""Streamed second moments and the ridge solution that compensation uses.

For a map restricted to some inputs, minimise over W, b

    sum ||y - W x - b||^2 + ridge * mean(diag(Cov x)) * n * ||W - W0||^2

from moments alone. Shrinking toward the old weights W0 means the calibration residual never rises.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Moments:
    """Sums over tokens of x x', x y', x, y and y^2; adding two pools their tokens.

    xx: [in, in]; xy: [in, out]; x: [in]; y, yy: [out]; count: tokens.
    """

    xx: Tensor
    xy: Tensor
    x: Tensor
    y: Tensor
    yy: Tensor
    count: int

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """x: [tokens, in]; y: [tokens, out]."""
        return cls(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), x.shape[0])

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.xx + other.xx,
            self.xy + other.xy,
            self.x + other.x,
            self.y + other.y,
            self.yy + other.yy,
            self.count + other.count,
        )

    def select(self, inputs: Tensor | None, outputs: Tensor | None) -> Moments:
        """Moments of some inputs and outputs."""
        chosen = self
        if inputs is not None:
            chosen = Moments(
                chosen.xx[inputs][:, inputs], chosen.xy[inputs], chosen.x[inputs], chosen.y, chosen.yy, chosen.count
            )
        if outputs is not None:
            chosen = Moments(
                chosen.xx, chosen.xy[:, outputs], chosen.x, chosen.y[outputs], chosen.yy[outputs], chosen.count
            )
        return chosen


def solve(moments: Moments, old: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The ridge solution: weight [out, in] and bias [out], in the dtype of `old` [out, in]."""
    xx, xy, mean_x, mean_y = _centred(moments)
    penalty = ridge * xx.diagonal().mean() + 1e-30
    left = xx + penalty * torch.eye(len(xx), dtype=xx.dtype, device=xx.device)
    right = xy + penalty * old.T.double()
    weight = torch.linalg.solve(left, right).T
    return weight.to(old.dtype), (mean_y - weight @ mean_x).to(old.dtype)


def residual(moments: Moments, weight: Tensor, bias: Tensor) -> Tensor:
    """Mean squared error of each output over the moments' tokens, [out]."""
    w, b, n = weight.double(), bias.double(), moments.count
    xx, xy, x, y, yy = (m.double() for m in (moments.xx, moments.xy, moments.x, moments.y, moments.yy))
    square = yy - 2 * (w * xy.T).sum(1) + ((w @ xx) * w).sum(1)
    return (square + 2 * b * (w @ x - y)) / n + b.square()


def _centred(moments: Moments) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n = moments.count
    mean_x, mean_y = moments.x.double() / n, moments.y.double() / n
    xx = moments.xx.double() / n - torch.outer(mean_x, mean_x)
    xy = moments.xy.double() / n - torch.outer(mean_x, mean_y)
    return xx, xy, mean_x, mean_y
