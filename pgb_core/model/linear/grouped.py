"""A linear map of equal blocks, each reading its own choice of inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupedLinear(nn.Module):
    """`y[out] = blocks(x[in_index])[out_index] + bias`.

    weight: [groups, rows, cols]; bias: [out].
    in_index: [groups, cols] inputs that each group reads, or None: one group reads all, in order.
    out_index: [out] position of each output among the packed `groups * rows`, -1 for an output in
    no group (it is its bias), or None: outputs are the packed rows, in order.
    """

    in_index: Tensor | None
    out_index: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor, in_features: int, in_index: Tensor | None, out_index: Tensor | None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.register_buffer("in_index", in_index)
        self.register_buffer("out_index", out_index)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        cols: Tensor,
        out_rows: Tensor | None = None,
        in_cols: Tensor | None = None,
    ) -> GroupedLinear:
        """Cut blocks out of a dense map.

        weight: [out, in]; rows: [groups, r]; cols: [groups, c], both indices of the dense matrix.
        out_rows, in_cols: the dense indices that the module's outputs and inputs stand for, when
        its neighbours are pruned too; all of them by default.
        """
        out_rows = torch.arange(weight.shape[0]) if out_rows is None else out_rows
        in_cols = torch.arange(weight.shape[1]) if in_cols is None else in_cols
        # Columns in the order of the inputs: one block of all of them then needs no gather.
        in_index, order = _positions(in_cols, weight.shape[1])[cols].sort(1)
        blocks = weight[rows.unsqueeze(2), cols.gather(1, order).unsqueeze(1)].clone()
        out_index = _positions(rows.flatten(), weight.shape[0])[out_rows]
        return cls(
            blocks,
            bias[out_rows].clone(),
            len(in_cols),
            None if _is_identity(in_index, len(in_cols)) else in_index,
            None if _is_identity(out_index, rows.numel()) else out_index,
        )

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return int(self.bias.shape[0])

    @property
    def groups(self) -> int:
        """Number of blocks."""
        return int(self.weight.shape[0])

    def to_dense(self) -> Tensor:
        """The equal dense weight, [out, in], differentiable."""
        groups, rows, cols = self.weight.shape
        if self.in_index is None:
            packed = self.weight.flatten(0, 1)
        else:
            index = self.in_index.unsqueeze(1).expand(-1, rows, -1).reshape(groups * rows, cols)
            packed = self.weight.new_zeros(groups * rows, self.in_features)
            packed = packed.scatter(1, index, self.weight.flatten(0, 1))
        if self.out_index is None:
            return packed
        grouped = (self.out_index >= 0).unsqueeze(1)
        return torch.where(grouped, packed[self.out_index.clamp_min(0)], 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out].

        A matrix product needs few, large kernels: on short inputs the dense form of a few groups
        is the faster one in training, and it is what `blocks` is checked against.
        """
        if self.groups == 1 and self.out_index is None:
            return functional.linear(self._gather(x), self.weight[0], self.bias)
        return functional.linear(x, self.to_dense(), self.bias)

    def blocks(self, x: Tensor) -> Tensor:
        """The same map as one batched product over groups, as the exported graph computes it."""
        groups, _, cols = self.weight.shape
        gathered = self._gather(x).unflatten(-1, (groups, cols))
        packed = torch.einsum("...gc,grc->...gr", gathered, self.weight).flatten(-2)
        if self.out_index is not None:
            grouped = self.out_index >= 0
            packed = torch.where(grouped, packed[..., self.out_index.clamp_min(0)], 0.0)
        return packed + self.bias

    def _gather(self, x: Tensor) -> Tensor:
        return x if self.in_index is None else x.index_select(-1, self.in_index.flatten())

    def extra_repr(self) -> str:
        """Sizes, as `print(model)` shows them."""
        groups, rows, cols = self.weight.shape
        return f"{self.in_features} -> {self.out_features}, {groups} x [{rows}, {cols}]"


def _positions(values: Tensor, size: int) -> Tensor:
    """Inverse of `values`: where each of 0..size-1 stands in it, -1 where it does not."""
    positions = torch.full((size,), -1, dtype=torch.long)
    positions[values] = torch.arange(len(values))
    return positions


def _is_identity(index: Tensor, size: int) -> bool:
    return index.numel() == size and bool((index.flatten() == torch.arange(size)).all())
