"""Run a model over calibration batches and return scores; the model is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Linear
from pgb_core.plan import Site
from pgb_core.search import importance
from pgb_core.tasks.features import Batch


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[..., object]) -> Iterator[None]:
    """Forward hooks that are gone afterwards."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def fisher(
    model: Encoder,
    batches: Iterable[Batch],
    problem_type: str | None,
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

    frozen = {name: p.requires_grad for name, p in model.named_parameters()}
    model.requires_grad_(False)
    try:
        with hooked(sites.values(), watch):
            for batch in batches:
                batch = batch.to(device)
                _backward(model, batch, problem_type, generator, from_predictions)
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(frozen[name])
    return sums


def _backward(
    model: Encoder, batch: Batch, problem_type: str | None, generator: torch.Generator, from_predictions: bool
) -> None:
    with torch.enable_grad():
        x = model.embeddings(batch.input_ids, batch.token_type_ids).detach().requires_grad_(True)
        mask = batch.attention_mask.bool()
        logits = model.from_embeddings(x, mask)
        if model.config.task == "qa":
            logits = logits.masked_fill(~mask.unsqueeze(2), -1e4)
        targets = batch.targets
        if from_predictions or targets is None:
            targets = draw(logits.detach(), model.config.task, problem_type, generator)
        task_loss(logits, targets, model.config.task, problem_type, "sum").backward()


def task_loss(logits: Tensor, targets: Tensor, task: str, problem_type: str | None, reduction: str = "mean") -> Tensor:
    """Negative log-likelihood. logits: [batch, labels], or [batch, tokens, 2] with targets [batch, 2]."""
    if task == "qa":
        ends = functional.cross_entropy(logits[..., 1], targets[:, 1], reduction=reduction)
        return functional.cross_entropy(logits[..., 0], targets[:, 0], reduction=reduction) + ends
    if problem_type == "regression" or logits.shape[1] == 1:
        return functional.mse_loss(logits[:, 0], targets.float().view(-1), reduction=reduction)
    if problem_type == "multi_label_classification":
        return functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction=reduction)
    return functional.cross_entropy(logits, targets, reduction=reduction)


def draw(logits: Tensor, task: str, problem_type: str | None, generator: torch.Generator) -> Tensor:
    """Labels drawn from the predicted distribution, shaped as `task_loss` wants them."""
    values = logits.float().cpu()
    if task == "qa":
        drawn = [torch.multinomial(values[..., k].softmax(-1), 1, generator=generator) for k in (0, 1)]
        return torch.cat(drawn, dim=1).to(logits.device)
    if problem_type == "regression" or values.shape[1] == 1:
        return (values[:, 0] + torch.randn(len(values), generator=generator)).to(logits.device)
    if problem_type == "multi_label_classification":
        return torch.bernoulli(values.sigmoid(), generator=generator).to(logits.device)
    return torch.multinomial(values.softmax(-1), 1, generator=generator)[:, 0].to(logits.device)
