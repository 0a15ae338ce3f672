"""A linear map of two matrices of low rank."""

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

    def refit(self, moments: Moments, ridge: float) -> float:
        """The second matrix, on what the first one gives; the first one stays."""
        down = self.down.double()
        xx = down @ moments.xx.double() @ down.T
        inner = Moments(xx, down @ moments.xy.double(), down @ moments.x.double(), moments.y, moments.count)
        up, bias, taken = solve(inner, self.up, ridge)
        self.up.copy_(up)
        self.bias.copy_(bias)
        return taken


def cut(choice: LowRank, weight: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> LowRankLinear:
    """The best pair, in the orders of its neighbours; see `pgb_core.model.linear.cut`."""
    down, up = factors(weight, choice.rank)
    return LowRankLinear(down[:, inputs].contiguous(), up[outputs].contiguous(), bias[outputs].clone())


def factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The pair down [rank, in] and up [out, rank] whose product is nearest to weight [out, in] (Eckart and Young 1936).

    Directions are in the order of their singular values, and each half has the square root of these. The largest entry
    of a row of `down` is positive, so that equal matrices give equal pairs.
    """
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    root = s[:rank].sqrt()
    down, up = root.unsqueeze(1) * v[:rank], u[:, :rank] * root
    sign = down.gather(1, down.abs().argmax(1, keepdim=True)).sign()
    # The optimiser's fused step takes its own state to lie in memory as the parameters do, also when it was read back.
    return (down * sign).to(weight.dtype).contiguous(), (up * sign.T).to(weight.dtype).contiguous()
