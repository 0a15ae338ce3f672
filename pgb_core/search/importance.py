"""Importance of weights, of units (heads, neurons) and of what a structure keeps.

The importance of a weight is a second-order estimate of the loss that keeping it avoids, with the Fisher diagonal in
place of the Hessian: `I = w^2 * F` (Optimal Brain Damage, LeCun 1989; PGB, arXiv 2502.03984).
"""

from __future__ import annotations

from torch import Tensor


def add_fisher(total: Tensor, inputs: Tensor, output_grads: Tensor) -> None:
    """Add each sample's squared gradient of a linear map's weight to `total` [out, in], in place.

    inputs: [batch, tokens, in]; output_grads: [batch, tokens, out], of a loss summed over the batch. On a CPU sample
    by sample: one gradient fits its cache, where those of a batch of short texts go through memory several times.
    """
    if inputs.device.type != "cpu":
        total.add_((output_grads.transpose(1, 2) @ inputs).square_().sum(0))
        return
    for x, grad in zip(inputs, output_grads, strict=True):
        single = grad.T @ x
        total.addcmul_(single, single)


def importance(weight: Tensor, fisher: Tensor) -> Tensor:
    """`w^2 * F`, elementwise, [out, in]."""
    return weight.square() * fisher


def by_unit(values: Tensor, size: int) -> Tensor:
    """Sum rows over consecutive units of `size` rows: [units * size, in] -> [units, in]."""
    return values.unflatten(0, (-1, size)).sum(1)
