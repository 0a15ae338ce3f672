"""Gates that multiply the outputs of heads and neurons, and the gradients of the loss with respect to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from pgb_core.learn.fisher import backward, frozen
from pgb_core.model.blocks import Sublayer
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Linear
from pgb_core.search.units import Units
from pgb_core.tasks import Objective
from pgb_core.tasks.features import Batch


@contextmanager
def gated(model: Encoder, heads: Sequence[Tensor], neurons: Sequence[Tensor]) -> Iterator[None]:
    """Inside, what the heads and neurons of a dense model give is multiplied by gates, on the way to the writing map.

    heads, neurons: of each layer, [heads] and [neurons], or [batch, 1, heads] and [batch, 1, neurons].
    """
    with ExitStack() as hooks:
        for layer, of_heads, of_neurons in zip(model.layers, heads, neurons, strict=True):
            hooks.callback(_multiplied(layer.attention, of_heads))
            hooks.callback(_multiplied(layer.feed_forward, of_neurons))
        yield


def importance_of_units(
    model: Encoder, batches: Iterable[Batch], objective: Objective, seed: int, kept: Units
) -> Units:
    """|dL/dgate| of every head and neuron at a gate of 1, summed over samples (Michel et al. 2019, equation 2).

    By the chain rule it is |sum over tokens and channels of output x dL/d output|. kept: those that are there, bool;
    of the others the outputs are 0, and so are the scores. Labels are drawn from the model's predictions where a batch
    has none. The model is left as it was.
    """
    device = next(model.parameters()).device
    kinds = [kept.heads.to(device), kept.neurons.to(device)]
    totals = [torch.zeros(kind.shape, device=device) for kind in kinds]
    generator = torch.Generator().manual_seed(seed)
    with frozen(model):
        for batch in batches:
            batch = batch.to(device)
            size = len(batch.input_ids)
            gates = [[one.float().repeat(size, 1, 1).requires_grad_() for one in kind] for kind in kinds]
            with gated(model, *gates):
                backward(model, batch, objective, generator, from_predictions=False)
            for total, of_layers in zip(totals, gates, strict=True):
                for row, gate in zip(total, of_layers, strict=True):
                    if gate.grad is not None:
                        row += gate.grad.abs().sum((0, 1))
    heads, neurons = (total * kind for total, kind in zip(totals, kinds, strict=True))
    return Units(heads.cpu(), neurons.cpu())


def _multiplied(sublayer: Sublayer, gate: Tensor) -> Callable[[], None]:
    """Multiply what the writing map reads; what is returned ends it."""
    (linear,) = sublayer.writing().values()
    size = linear.in_features // gate.shape[-1]

    def multiply(linear: Linear, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * gate.repeat_interleave(size, -1).to(inputs[0].dtype),)

    return linear.register_forward_pre_hook(multiply).remove
