"""A linear map with an unchanged matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pgb_core.model.linear.base import Chain, Linear, Product
from pgb_core.model.linear.grouped import GroupedLinear, cut_blocks
from pgb_core.model.linear.lstsq import Moments, solve
from pgb_core.plan import Keep


class Dense(nn.Linear, Linear):
    """PyTorch's linear map."""

    def chain(self) -> Chain:
        """One product."""
        return Chain((Product(self.weight.unsqueeze(0), self.in_features),), self.bias)

    def refit(self, moments: Moments, ridge: float) -> float:
        """See Linear."""
        weight, bias, taken = solve(moments, self.weight, ridge)
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        return taken


def cut(choice: Keep, weight: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> GroupedLinear:
    """All of a matrix, between neighbours that may have other orders: one block."""
    rows, cols = (torch.arange(size).unsqueeze(0) for size in choice.shape)
    return cut_blocks(weight, bias, rows, cols, outputs, inputs)
