"""Compensation: the weights that are left are fitted to replace those removed, by ridge regression, layer by layer.

Each map is fitted on the inputs that the pruned model gives it, toward the outputs that the dense model gives on
its own inputs. Maps that write to the residual stream also correct the error that the stream already has at their
layer. (He et al. 2017 reconstruct convolutions in the same order.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pgb_core.model.blocks import Constant, Half, attention_bias
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear.lstsq import pooled
from pgb_core.model.surgery import outputs
from pgb_core.plan import Plan, Site
from pgb_core.tasks.features import Batch


@torch.no_grad()
def compensate(
    dense: Encoder,
    compact: Encoder,
    plan: Plan,
    batches: Sequence[Batch],
    ridge: float = 1e-2,
    progress: Callable[[int], None] = lambda layer: None,
) -> float:
    """Solve every map of `compact`, in place; the largest ridge that was taken.

    Every layer of both models runs once. Three hidden states of all batches are held: the dense model's, ours, and what
    our writing map reads. Raises PlanError where one of them is not finite.
    """
    device = next(compact.parameters()).device
    masks = [batch.attention_mask.bool().to(device) for batch in batches]
    theirs = [dense.embeddings(b.input_ids.to(device), b.token_type_ids.to(device)) for b in batches]
    streams = _Streams(plan, theirs, list(theirs), masks, ridge)
    left, taken = {layer.index: layer for layer in compact.layers}, ridge
    for target in dense.layers:
        layer = left.get(target.index)
        if layer is None:
            for n, mask in enumerate(masks):
                theirs[n] = target(theirs[n], attention_bias(mask))
        else:
            for goal, half in zip(target.halves, layer.halves, strict=True):
                taken = max(taken, streams.solve(goal, half, target.index))
        progress(target.index)
    return taken


@dataclass(frozen=True)
class _Streams:
    """Hidden states of all batches, [batch, tokens, hidden] each, before the half that is being solved.

    theirs: the dense model's; ours: the pruned one's; masks: which tokens are real, [batch, tokens].
    """

    plan: Plan
    theirs: list[Tensor]
    ours: list[Tensor]
    masks: Sequence[Tensor]
    ridge: float

    def solve(self, target: Half, half: Half, index: int) -> float:
        """Solve one half of layer `index`, and take both hidden states through it; the largest ridge that was taken."""
        taken = self._solve_reading(target, half, index)
        sublayer = half.sublayer
        read: dict[int, Tensor] = {}

        def pairs() -> Iterator[tuple[Tensor, Tensor]]:
            for n, mask in enumerate(self.masks):
                added = target.added(self.theirs[n], attention_bias(mask))
                goal = _real(added - self.ours[n], mask)
                self.theirs[n] = target.norm(added)
                if isinstance(sublayer, Constant):
                    yield goal[:, :0], goal
                elif sublayer.mixes_tokens:  # and so must see the padding, and is not run twice
                    read[n] = sublayer.between(self.ours[n], attention_bias(mask))
                    yield _real(read[n], mask), goal
                else:
                    yield sublayer.between(_real(self.ours[n], mask)), goal

        moments = pooled(pairs())
        if isinstance(sublayer, Constant):
            sublayer.bias.copy_(moments.y / moments.count)
        for writer in sublayer.writing().values():
            taken = max(taken, writer.refit(moments, self.ridge))
        for n, x in enumerate(self.ours):
            self.ours[n] = half.norm(x + (sublayer.written(read[n]) if n in read else sublayer(x)))
        return taken

    def _solve_reading(self, target: Half, half: Half, index: int) -> float:
        """Solve maps that read the hidden state: one pair of moments, theirs with ours, serves all of them."""
        reading = half.sublayer.reading()
        if not reading:
            return self.ridge

        def pairs() -> Iterator[tuple[Tensor, Tensor]]:
            for x_dense, x_ours, mask in zip(self.theirs, self.ours, self.masks, strict=True):
                x = _real(x_ours, mask)
                yield x, x if x_dense is x_ours else _real(x_dense, mask)

        moments = pooled(pairs())
        wanted, taken = target.sublayer.reading(), self.ridge
        for role, linear in reading.items():
            source = wanted[role]
            weight = source.to_dense()
            rows = outputs(self.plan, Site(index, role)).to(weight.device)
            taken = max(taken, linear.refit(moments.mapped(weight[rows], source.bias[rows]), self.ridge))
        return taken


def _real(x: Tensor, mask: Tensor) -> Tensor:
    """What is not padding, [tokens, hidden]."""
    return x.flatten(0, 1) if bool(mask.all()) else x[mask]
