"""A linear map of two thin products."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pgb_core.model.linear.base import Chain, Linear, Product
from pgb_core.model.linear.lstsq import Moments, solve
from pgb_core.plan.kinds.low_rank import LowRank


class LowRankLinear(Linear):
    """`y = up (down x) + bias`. down: [rank, in]; up: [out, rank]; bias: [out]."""

    def __init__(self, down: Tensor, up: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.in_features, self.out_features = int(down.shape[1]), int(up.shape[0])
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(up)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return functional.linear(functional.linear(x, self.down), self.up, self.bias)

    def chain(self) -> Chain:
        """Two products."""
        products = (
            Product(self.down.unsqueeze(0), self.in_features),
            Product(self.up.unsqueeze(0), len(self.down)),
        )
        return Chain(products, self.bias)

    def refit(self, moments: Moments, ridge: float) -> None:
        """The second matrix, on what the first one gives; the first one stays."""
        down = self.down.double()
        xx = down @ moments.xx.double() @ down.T
        inner = Moments(xx, down @ moments.xy.double(), down @ moments.x.double(), moments.y, moments.count)
        up, bias = solve(inner, self.up, ridge)
        self.up.copy_(up)
        self.bias.copy_(bias)


def cut(choice: LowRank, weight: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> LowRankLinear:
    """The best pair (Eckart and Young 1936), in the orders of its neighbours; see `pgb_core.model.linear.cut`.

    Each half has the square root of the singular values, and the largest entry of a row of `down` is positive, so that
    equal matrices give equal pairs.
    """
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    root = s[: choice.rank].sqrt()
    down, up = root.unsqueeze(1) * v[: choice.rank], u[:, : choice.rank] * root
    sign = down.gather(1, down.abs().argmax(1, keepdim=True)).sign()
    down, up = (down * sign)[:, inputs].to(weight.dtype), (up * sign.T)[outputs].to(weight.dtype)
    return LowRankLinear(down.contiguous(), up.contiguous(), bias[outputs].clone())
