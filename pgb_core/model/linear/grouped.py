"""A linear map of equal blocks, each reading its own choice of inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pgb_core.model.linear.base import Chain, Linear, Product
from pgb_core.model.linear.lstsq import Moments, solve
from pgb_core.plan import Grouping


class GroupedLinear(Linear):
    """`y[out] = blocks(x[in_index])[out_index] + bias`; see `Product` for the indices.

    weight: [groups, rows, cols]; bias: [out].
    """

    in_index: Tensor | None
    out_index: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor, in_features: int, in_index: Tensor | None, out_index: Tensor | None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = int(bias.shape[0])
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.register_buffer("in_index", in_index)
        self.register_buffer("out_index", out_index)
        self._prefix = self.product.prefix  # asked once: a GPU's answer has to be waited for

    @property
    def product(self) -> Product:
        """The map without its bias."""
        return Product(self.weight, self.in_features, self.in_index, self.out_index)

    def chain(self) -> Chain:
        """One product."""
        return Chain((self.product,), self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out].

        A matrix product needs few, large kernels: on short inputs the dense form of a few groups
        is the faster one in training.
        """
        product = self.product
        if not product.one_block:
            return functional.linear(x, product.to_dense(), self.bias)
        if self.in_index is not None:
            x = x.index_select(-1, self.in_index.flatten()) if self._prefix is None else x[..., : self._prefix]
        return functional.linear(x, self.weight[0], self.bias)

    def refit(self, moments: Moments, ridge: float) -> float:
        """Each block by itself, on the inputs that it reads; an output in no block gets its mean."""
        source = self.out_index
        position = torch.arange(self.out_features, device=self.bias.device) if source is None else source
        size = self.weight.shape[1]
        new_bias, most = moments.y / moments.count, ridge
        for index in range(len(self.weight)):
            members = torch.nonzero((position >= index * size) & (position < (index + 1) * size)).flatten()
            slots = position[members] - index * size
            inputs = None if self.in_index is None else self.in_index[index]
            weight, bias, taken = solve(moments.select(inputs, members), self.weight[index, slots], ridge)
            most = max(most, taken)
            self.weight[index, slots] = weight
            new_bias[members] = bias.to(new_bias.dtype)
        self.bias.copy_(new_bias)
        return most

    def merged(self) -> Linear:
        """One block: more zeros, but one kernel."""
        if self.product.one_block:
            return self
        weight = self.product.to_dense().detach().unsqueeze(0)
        return GroupedLinear(weight, self.bias.detach(), self.in_features, None, None)


def cut(choice: Grouping, weight: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> GroupedLinear:
    """The blocks of a grouping; see `pgb_core.model.linear.cut`."""
    rows, cols = (torch.tensor([getattr(group, side) for group in choice.groups]) for side in ("rows", "cols"))
    return cut_blocks(weight, bias, rows, cols, outputs, inputs)


def cut_blocks(
    weight: Tensor, bias: Tensor, rows: Tensor, cols: Tensor, outputs: Tensor, inputs: Tensor
) -> GroupedLinear:
    """Blocks of a dense map. weight: [out, in]; rows: [groups, r]; cols: [groups, c], dense indices.

    outputs, inputs: the dense indices that the module's outputs and inputs stand for.
    """
    # Columns in the order of the inputs: one block of all of them then needs no gather.
    in_index, order = _positions(inputs, weight.shape[1])[cols].sort(1)
    blocks = weight[rows.unsqueeze(2), cols.gather(1, order).unsqueeze(1)].clone()
    out_index = _positions(rows.flatten(), weight.shape[0])[outputs]
    return GroupedLinear(
        blocks,
        bias[outputs].clone(),
        len(inputs),
        None if _is_identity(in_index, len(inputs)) else in_index,
        None if _is_identity(out_index, rows.numel()) else out_index,
    )


def _positions(values: Tensor, size: int) -> Tensor:
    """Inverse of `values`: where each of 0..size-1 stands in it, -1 where it does not."""
    positions = torch.full((size,), -1, dtype=torch.long)
    positions[values] = torch.arange(len(values))
    return positions


def _is_identity(index: Tensor, size: int) -> bool:
    return index.numel() == size and bool((index.flatten() == torch.arange(size)).all())
