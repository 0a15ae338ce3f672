"""What every kind of linear map of an encoder must offer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgb_core.model.linear.lstsq import Moments


@dataclass(frozen=True)
class Product:
    """`packed[out_index]`, where `packed` are the outputs of equal blocks that read `x[in_index]`.

    blocks: [groups, rows, cols]. in_index: [groups, cols], or None: one group reads all inputs, in order. out_index:
    [out] position of each output among the `groups * rows` packed ones, -1 for an output that is 0; None: they are the
    outputs, in order. in_features: inputs there are.
    """

    blocks: Tensor
    in_features: int
    in_index: Tensor | None = None
    out_index: Tensor | None = None

    @property
    def groups(self) -> int:
        """Number of blocks."""
        return int(self.blocks.shape[0])

    @property
    def one_block(self) -> bool:
        """Whether the outputs are those of a single block, in order."""
        return self.groups == 1 and self.out_index is None

    @property
    def prefix(self) -> int | None:
        """How many inputs the one block reads, where they are the first ones, in order; None otherwise."""
        count = int(self.blocks.shape[2])
        if self.groups != 1:
            return None
        if self.in_index is None or torch.equal(self.in_index[0], torch.arange(count, device=self.in_index.device)):
            return count
        return None

    def to_dense(self) -> Tensor:
        """The equal matrix, [out, in], differentiable."""
        groups, rows, cols = self.blocks.shape
        packed = self.blocks.flatten(0, 1)
        if self.in_index is not None:
            index = self.in_index.unsqueeze(1).expand(-1, rows, -1).reshape(groups * rows, cols)
            packed = self.blocks.new_zeros(groups * rows, self.in_features).scatter(1, index, packed)
        if self.out_index is None:
            return packed
        return torch.where((self.out_index >= 0).unsqueeze(1), packed[self.out_index.clamp_min(0)], 0.0)


@dataclass(frozen=True)
class Chain:
    """A linear map as a graph computes it: products one after the other, then a bias [out]."""

    products: tuple[Product, ...]
    bias: Tensor

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return int(self.bias.shape[0])

    @property
    def gathers(self) -> bool:
        """Whether some product reads or writes otherwise than as one block, over the first of its inputs."""
        return not all(product.one_block and product.prefix is not None for product in self.products)

    def to_dense(self) -> Tensor:
        """The equal matrix, [out, in], differentiable."""
        first, *others = (product.to_dense() for product in self.products)
        for matrix in others:
            first = matrix @ first
        return first


class Linear(nn.Module):
    """`y = W x + b`: [..., in] -> [..., out]. Each kind has a class of its own.

    exact: whether it stays in float32 where products are in int8.
    """

    in_features: int
    out_features: int
    bias: nn.Parameter
    exact = False

    def chain(self) -> Chain:
        """The map as a graph computes it; its tensors are the module's own."""
        raise NotImplementedError

    def to_dense(self) -> Tensor:
        """The equal matrix, [out, in], differentiable."""
        return self.chain().to_dense()

    def refit(self, moments: Moments, ridge: float) -> float:
        """Solve weights and bias by ridge regression toward the old weights, in place; the largest ridge taken.

        moments: of all inputs and all outputs of this map. ridge: a larger one is taken where it is too small for them.
        """
        raise NotImplementedError

    def merged(self) -> Linear:
        """The same map in as few kernels as possible, itself where it is so already."""
        return self
