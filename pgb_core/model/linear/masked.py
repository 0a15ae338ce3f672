"""A linear map in which some weights are 0 and stay 0."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pgb_core.model.linear.base import Chain, Linear, Product
from pgb_core.model.linear.grouped import GroupedLinear
from pgb_core.model.linear.lstsq import Moments, centred
from pgb_core.plan.kinds.masked import Masked

ROUNDING = 1e-6  # of a mean square: as much of it may be the rounding of float32 sums


class MaskedLinear(Linear):
    """`y = (mask * weight) x + bias`. weight and mask: [out, in]. It takes as long as a dense one."""

    mask: Tensor

    def __init__(self, weight: Tensor, mask: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = int(weight.shape[0]), int(weight.shape[1])
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.register_buffer("mask", mask, persistent=False)  # the plan has it

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return functional.linear(x, self.weight * self.mask, self.bias)

    def chain(self) -> Chain:
        """One product."""
        return Chain((Product((self.weight * self.mask).unsqueeze(0), self.in_features),), self.bias)

    def merged(self) -> Linear:
        """One block, with its zeros written out."""
        weight = (self.weight * self.mask).detach().unsqueeze(0)
        return GroupedLinear(weight, self.bias.detach(), self.in_features, None, None)

    def refit(self, moments: Moments, ridge: float) -> float:
        """Each output by one factor and its bias: rows with weights of their own would take a solution each.

        Weights whose output hardly varies stay as they are: what varies of it is rounding.
        """
        xx, xy, mean_x, mean_y = centred(moments)
        weight = (self.weight * self.mask).double()
        power = ((weight @ xx) * weight).sum(1)
        factor = ((weight * xy.T).sum(1) + ridge * power + 1e-30) / ((1 + ridge) * power + 1e-30)
        factor = torch.where(power > ROUNDING * (power + (weight @ mean_x).square()), factor, 1.0)
        self.weight.mul_(factor.unsqueeze(1).to(self.weight.dtype))
        self.bias.copy_(mean_y - factor * (weight @ mean_x))
        return ridge


def cut(choice: Masked, weight: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> MaskedLinear:
    """The weights that are kept, in the orders of the neighbours; see `pgb_core.model.linear.cut`."""
    rows = np.frombuffer(choice.bits, np.uint8).reshape(choice.shape[0], choice.stride)
    kept = torch.from_numpy(np.unpackbits(rows, axis=1, count=choice.shape[1]).astype(np.float32))
    mask = kept[outputs][:, inputs]
    return MaskedLinear(weight[outputs][:, inputs] * mask.to(weight.device), mask, bias[outputs].clone())
