"""Curvature of the loss along the weights of each layer: the largest eigenvalue of its block of the Hessian.

Q-BERT (Shen et al. 2020, arXiv 1909.05840) finds it by power iteration, on several batches. The product of the Hessian
and a vector is computed by two derivatives. A layer is sensitive if the eigenvalue is large or differs between batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pgb_core.learn.fisher import frozen
from pgb_core.learn.noise import matrices
from pgb_core.model.encoder import Encoder
from pgb_core.tasks import Objective
from pgb_core.tasks.features import Batch

MOST_STEPS = 20  # of the power iteration
ENOUGH = 0.01  # relative change of the eigenvalue, below which it stops


def curvature(
    model: Encoder,
    batches: Sequence[Batch],
    objective: Objective,
    seed: int,
    progress: Callable[[], None] = lambda: None,
) -> dict[int, Tensor]:
    """Eigenvalues of largest magnitude, [batches], by the index of each layer. The model is left as it was.

    Without labels they are drawn from the model's own predictions. progress: told of each layer of each batch.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    weights = {layer.index: [p for one in layer.maps().values() for p in matrices(one)] for layer in model.layers}
    every = [parameter for some in weights.values() for parameter in some]
    found: dict[int, list[float]] = {index: [] for index in weights}
    with frozen(model):
        for parameter in every:
            parameter.requires_grad_(True)
        for batch in batches:
            gradients = dict(zip(every, _gradients(model, batch.to(device), objective, every, generator), strict=True))
            for index, parameters in weights.items():
                mine = [gradients[parameter] for parameter in parameters]
                found[index].append(largest_eigenvalue(parameters, mine, generator))
                progress()
    return {index: torch.tensor(values) for index, values in found.items()}


def sensitivity(eigenvalues: Tensor) -> float:
    """|mean| + standard deviation over the batches, [batches]; one batch has no deviation."""
    return float(eigenvalues.mean().abs() + eigenvalues.std(correction=0))


def largest_eigenvalue(parameters: Sequence[Tensor], gradients: Sequence[Tensor], generator: torch.Generator) -> float:
    """The eigenvalue of largest magnitude of the Hessian over these parameters.

    gradients: of the loss, one a parameter, with their graph. generator: of the vector that is begun with.
    """
    vector = [torch.randn(p.shape, generator=generator).to(p.device) for p in parameters]
    value = 0.0
    for _ in range(MOST_STEPS):
        length = torch.sqrt(sum((v.square().sum() for v in vector), torch.zeros((), device=vector[0].device)))
        if not float(length):
            return 0.0
        vector = [v / length for v in vector]
        product = torch.autograd.grad(
            gradients, parameters, vector, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        before, value = value, float(sum((p * v).sum() for p, v in zip(product, vector, strict=True)))
        if abs(value - before) <= ENOUGH * abs(value):
            break
        vector = list(product)
    return value


def _gradients(
    model: Encoder, batch: Batch, objective: Objective, parameters: Sequence[Tensor], generator: torch.Generator
) -> Sequence[Tensor]:
    """The gradients of the mean loss of a batch, with their graph."""
    with torch.enable_grad():
        mask = batch.attention_mask.bool()
        logits = model.from_embeddings(model.embeddings(batch.input_ids, batch.token_type_ids).detach(), mask)
        targets = batch.targets
        if targets is None:
            targets = objective.draw(logits.detach(), mask, generator)
        return torch.autograd.grad(objective.loss(logits, targets, mask), list(parameters), create_graph=True)
