"""Streamed second moments and the ridge solution that compensation uses.

For a map restricted to some inputs, minimise over W, b

    sum ||y - W x - b||^2 + ridge * mean(diag(Cov x)) * n * ||W - W0||^2

from moments alone. Shrinking toward the old weights W0 means the calibration residual never rises.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from pgb_core.search.pull import factored

BLOCK = 256


@dataclass
class Moments:
    """Sums over tokens of x x', x y', x and y; adding two pools their tokens.

    xx: [in, in]; xy: [in, out]; x: [in]; y: [out]; count: tokens.
    """

    xx: Tensor
    xy: Tensor
    x: Tensor
    y: Tensor
    count: int

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """x: [tokens, in]; y: [tokens, out]."""
        xx = gram(x)
        return cls(xx, xx.clone() if y is x else x.T @ y, x.sum(0), y.sum(0), x.shape[0])

    def __iadd__(self, other: Moments) -> Moments:
        for mine, more in ((self.xx, other.xx), (self.xy, other.xy), (self.x, other.x), (self.y, other.y)):
            mine.add_(more)
        self.count += other.count
        return self

    def mapped(self, weight: Tensor, bias: Tensor) -> Moments:
        """Moments of x and `weight` y + bias, in float64: what a map makes of y need not be computed token by token."""
        w, b, x = weight.double(), bias.double(), self.x.double()
        xy = self.xy.double() @ w.T + torch.outer(x, b)
        return Moments(self.xx, xy, self.x, w @ self.y.double() + self.count * b, self.count)

    def select(self, inputs: Tensor | None, outputs: Tensor | None) -> Moments:
        """Moments of some inputs and outputs."""
        xx, xy, x, y = self.xx, self.xy, self.x, self.y
        if inputs is not None:
            xx, xy, x = xx[inputs][:, inputs], xy[inputs], x[inputs]
        if outputs is not None:
            xy, y = xy[:, outputs], y[outputs]
        return Moments(xx, xy, x, y, self.count)


def pooled(pairs: Iterable[tuple[Tensor, Tensor]]) -> Moments:
    """Moments of x [tokens, in] and y [tokens, out] of all batches, one at least."""
    return reduce(operator.iadd, (Moments.of(x, y) for x, y in pairs))


def gram(x: Tensor) -> Tensor:
    """x' x, [in, in]; blocks below the diagonal are copies of those above it."""
    size = x.shape[1]
    found = x.new_empty(size, size)
    for start in range(0, size, BLOCK):
        end = min(size, start + BLOCK)
        found[start:end, start:] = x[:, start:end].T @ x[:, start:]
        found[end:, start:end] = found[start:end, end:].T
    return found


def solve(moments: Moments, old: Tensor, ridge: float) -> tuple[Tensor, Tensor, float]:
    """The ridge solution: weight [out, in] and bias [out], in the dtype of `old` [out, in]; the ridge that was taken.

    It is larger than `ridge` where that is too small for these moments. Raises PlanError where they are not finite.
    """
    xx, xy, mean_x, mean_y = centred(moments)
    factor, pull, taken = factored(xx, ridge, 1e-30)
    weight = torch.cholesky_solve(xy + pull * old.T.double(), factor).T
    return weight.to(old.dtype), (mean_y - weight @ mean_x).to(old.dtype), taken


def centred(moments: Moments) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Covariances x x' and x y', and the means of x and y, in float64."""
    n = moments.count
    mean_x, mean_y = moments.x.double() / n, moments.y.double() / n
    xx = moments.xx.double() / n - torch.outer(mean_x, mean_x)
    xy = moments.xy.double() / n - torch.outer(mean_x, mean_y)
    return xx, xy, mean_x, mean_y
