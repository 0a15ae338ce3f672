"""Let what is left make up for what went: ridge regression, layer by layer, in the order of data.

Each map is solved on the inputs that the pruned model really sees, toward the outputs that the
dense model gives on its own inputs; maps that write to the residual stream also make up for the
drift their layer received (He et al. 2017 reconstruct in the same order for convolutions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgb_core.learn.lstsq import Moments, solve
from pgb_core.model.encoder import Attention, Constant, Encoder, FeedForward, Layer, Linear, attention_bias
from pgb_core.model.linear.grouped import GroupedLinear
from pgb_core.model.surgery import outputs
from pgb_core.plan import GroupingPlan, Role, Site
from pgb_core.tasks.features import Batch


@dataclass(frozen=True)
class _Streams:
    """Hidden states of all batches, [batch, tokens, hidden] each, before the layer that is being solved.

    theirs: the dense model's; ours: the pruned one's; masks: which tokens are real, [batch, tokens].
    """

    plan: GroupingPlan
    theirs: list[Tensor]
    ours: list[Tensor]
    masks: Sequence[Tensor]
    ridge: float


@torch.no_grad()
def compensate(
    dense: Encoder,
    compact: Encoder,
    plan: GroupingPlan,
    batches: Sequence[Batch],
    ridge: float = 1e-2,
    progress: Callable[[int], None] = lambda layer: None,
) -> None:
    """Solve every grouped map of `compact`, in place.

    Every layer of both models runs once. Three hidden states of all batches are held: the dense
    model's, ours, and what our output map reads.
    """
    device = next(compact.parameters()).device
    masks = [batch.attention_mask.bool().to(device) for batch in batches]
    theirs = [dense.embeddings(b.input_ids.to(device), b.token_type_ids.to(device)) for b in batches]
    ours = list(theirs)
    streams = _Streams(plan, theirs, ours, masks, ridge)
    left = {layer.index: layer for layer in compact.layers}
    for target in dense.layers:
        layer = left.get(target.index)
        if layer is None:
            for n, mask in enumerate(masks):
                theirs[n] = target(theirs[n], attention_bias(mask))
        else:
            _attention(target, layer, streams)
            _feed_forward(target, layer, streams)
        progress(target.index)


def _attention(target: Layer, layer: Layer, streams: _Streams) -> None:
    """Solve the attention half of a layer, and take both hidden states through it."""
    theirs, ours, masks = streams.theirs, streams.ours, streams.masks
    if isinstance(layer.attention, Attention):
        _solve_inputs(target, layer, (Role.QUERY, Role.KEY, Role.VALUE), streams)
    mixed = []
    pooled = _Pool()
    for n, mask in enumerate(masks):
        whole = theirs[n] + target.attention(theirs[n], attention_bias(mask))
        goal = _real(whole - ours[n], mask)
        theirs[n] = target.attention_norm(whole)
        if isinstance(layer.attention, Attention):
            mixed.append(layer.attention.mix(ours[n], attention_bias(mask)))
            pooled.add(_real(mixed[n], mask), goal)
        else:
            pooled.add(goal[:, :0], goal)
    if isinstance(layer.attention, Constant):
        layer.attention.bias.copy_(pooled.mean)
        for n, x in enumerate(ours):
            ours[n] = layer.attention_norm(x + layer.attention.bias)
        return
    _update(layer.attention.output, pooled.moments, streams.ridge)
    for n, x in enumerate(ours):
        ours[n] = layer.attention_norm(x + layer.attention.output(mixed[n]))


def _feed_forward(target: Layer, layer: Layer, streams: _Streams) -> None:
    """Solve the feed-forward half, and take both hidden states through it."""
    theirs, ours, masks = streams.theirs, streams.ours, streams.masks
    if isinstance(layer.feed_forward, FeedForward):
        _solve_inputs(target, layer, (Role.FFN_IN,), streams)
    pooled = _Pool()
    for n, mask in enumerate(masks):
        whole = theirs[n] + target.feed_forward(theirs[n])
        goal = _real(whole - ours[n], mask)
        theirs[n] = target.feed_forward_norm(whole)
        if isinstance(layer.feed_forward, FeedForward):
            pooled.add(layer.feed_forward.neurons(_real(ours[n], mask)), goal)
        else:
            pooled.add(goal[:, :0], goal)
    if isinstance(layer.feed_forward, Constant):
        layer.feed_forward.bias.copy_(pooled.mean)
    else:
        _update(layer.feed_forward.outer, pooled.moments, streams.ridge)
    for n, x in enumerate(ours):
        ours[n] = layer.feed_forward_norm(x + layer.feed_forward(x))


def _solve_inputs(target: Layer, layer: Layer, roles: Sequence[Role], streams: _Streams) -> None:
    """Solve maps that read the hidden state: one pair of moments, theirs with ours, serves all of them."""
    pooled = _Pool()
    for x_dense, x_ours, mask in zip(streams.theirs, streams.ours, streams.masks, strict=True):
        x = _real(x_ours, mask)
        pooled.add(x, x if x_dense is x_ours else _real(x_dense, mask))
    sites, wanted = layer.sites(), target.sites()
    for role in roles:
        source = wanted[role]
        assert isinstance(source, nn.Linear)
        rows = outputs(streams.plan, Site(target.index, role)).to(source.weight.device)
        _update(sites[role], pooled.moments.mapped(source.weight[rows], source.bias[rows]), streams.ridge)


class _Pool:
    """Moments of all batches."""

    def __init__(self) -> None:
        self._moments: Moments | None = None

    def add(self, x: Tensor, y: Tensor) -> None:
        """Those of one batch, [tokens, ...] each."""
        found = Moments.of(x, y)
        if self._moments is None:
            self._moments = found
        else:
            self._moments += found

    @property
    def moments(self) -> Moments:
        """Of everything that was added."""
        assert self._moments is not None
        return self._moments

    @property
    def mean(self) -> Tensor:
        """Of y."""
        return self.moments.y / self.moments.count


def _real(x: Tensor, mask: Tensor) -> Tensor:
    """What is not padding, [tokens, hidden]."""
    return x.flatten(0, 1) if bool(mask.all()) else x[mask]


def _update(linear: Linear, moments: Moments, ridge: float) -> None:
    assert isinstance(linear, GroupedLinear)
    source = linear.out_index
    position = torch.arange(linear.out_features, device=linear.bias.device) if source is None else source
    size = linear.weight.shape[1]
    new_bias = moments.y / moments.count
    for index in range(linear.groups):
        members = torch.nonzero((position >= index * size) & (position < (index + 1) * size)).flatten()
        slots = position[members] - index * size
        inputs = None if linear.in_index is None else linear.in_index[index]
        old = linear.weight[index, slots]
        weight, bias = solve(moments.select(inputs, members), old, ridge)
        linear.weight[index, slots] = weight
        new_bias[members] = bias.to(new_bias.dtype)
    linear.bias.copy_(new_bias)
