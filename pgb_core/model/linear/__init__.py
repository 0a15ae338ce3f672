"""The kinds of linear map as modules, one file each. `pgb_core.plan.kinds` has the choices to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from pgb_core.model.linear import dense, grouped, low_rank, masked
from pgb_core.model.linear.base import Chain, Linear, Product
from pgb_core.model.linear.dense import Dense
from pgb_core.model.linear.grouped import GroupedLinear
from pgb_core.plan import Choice, Grouping, Keep
from pgb_core.plan.kinds import LowRank, Masked

CUTS: Mapping[type[Choice], Callable[[Any, Tensor, Tensor, Tensor, Tensor], Linear]] = {
    Keep: dense.cut,
    Grouping: grouped.cut,
    LowRank: low_rank.cut,
    Masked: masked.cut,
}


def cut(choice: Choice, weight: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> Linear:
    """What a choice leaves of a dense map. weight: [out, in]; bias: [out].

    outputs, inputs: the dense indices that the outputs and inputs of what is left stand for, as its neighbours may be
    pruned too.
    """
    return CUTS[type(choice)](choice, weight, bias, outputs, inputs)


__all__ = ["CUTS", "Chain", "Dense", "GroupedLinear", "Linear", "Product", "cut"]
