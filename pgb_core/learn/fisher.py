"""The Fisher diagonal of every linear map, from gradients on calibration batches; the model is left as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Linear
from pgb_core.plan import Site
from pgb_core.search import importance
from pgb_core.tasks import Objective
from pgb_core.tasks.features import Batch


def fisher(
    model: Encoder,
    batches: Iterable[Batch],
    objective: Objective,
    seed: int,
    from_predictions: bool,
) -> dict[Site, Tensor]:
    """Fisher diagonal of every linear map, summed over samples: `Site -> [out, in]`.

    Empirical with labels; with `from_predictions` the labels are drawn from the model's own
    predictions, so unlabelled text is enough.
    """
    sites = model.sites()
    device = next(model.parameters()).device
    sums = {site: torch.zeros(linear.out_features, linear.in_features, device=device) for site, linear in sites.items()}
    address = {id(linear): site for site, linear in sites.items()}
    generator = torch.Generator().manual_seed(seed)

    def watch(linear: Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        x, total = inputs[0].detach(), sums[address[id(linear)]]

        def accumulate(grad: Tensor) -> None:
            importance.add_fisher(total, x, grad)

        output.register_hook(accumulate)

    with frozen(model), ExitStack() as hooks:
        for linear in sites.values():
            hooks.callback(linear.register_forward_hook(watch).remove)
        for batch in batches:
            batch = batch.to(device)
            backward(model, batch, objective, generator, from_predictions)
    return sums


@contextmanager
def frozen(model: Encoder) -> Iterator[None]:
    """Inside, no parameter takes a gradient."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


def backward(
    model: Encoder, batch: Batch, objective: Objective, generator: torch.Generator, from_predictions: bool
) -> None:
    """One backward pass of the loss, summed over samples. Labels are drawn where there are none, or if asked for."""
    with torch.enable_grad():
        x = model.embeddings(batch.input_ids, batch.token_type_ids).detach().requires_grad_(True)
        mask = batch.attention_mask.bool()
        logits = model.from_embeddings(x, mask)
        targets = batch.targets
        if from_predictions or targets is None:
            targets = objective.draw(logits.detach(), mask, generator)
        objective.loss(logits, targets, mask, "sum").backward()
