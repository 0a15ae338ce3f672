"""Let what is left make up for what went: ridge regression, layer by layer, in the order of data.

Each map is solved on the inputs that the pruned model really sees, toward the outputs that the
dense model gives on its own inputs; maps that write to the residual stream also make up for the
drift their layer received (He et al. 2017 reconstruct in the same order for convolutions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pgb_core.calibrate import hooked
from pgb_core.features import Batch
from pgb_core.functional.lstsq import Moments, solve
from pgb_core.nn.encoder import Constant, Encoder, Layer, Linear, attention_bias
from pgb_core.nn.grouped_linear import GroupedLinear
from pgb_core.plan import FEED_FORWARD, GroupingPlan, Role, Site
from pgb_core.surgery import outputs

STAGES = ((Role.QUERY, Role.KEY, Role.VALUE), (Role.ATTENTION_OUTPUT,), (Role.FFN_IN,), (Role.FFN_OUT,))


@torch.no_grad()
def compensate(
    dense: Encoder,
    compact: Encoder,
    plan: GroupingPlan,
    batches: Sequence[Batch],
    ridge: float = 1e-2,
    progress: Callable[[int], None] = lambda layer: None,
) -> None:
    """Solve every grouped map of `compact`, in place. Two hidden states of all batches are held, dense and ours."""
    device = next(compact.parameters()).device
    masks = [batch.attention_mask.bool().to(device) for batch in batches]
    theirs = [dense.embeddings(b.input_ids.to(device), b.token_type_ids.to(device)) for b in batches]
    ours = list(theirs)
    left = {layer.index: layer for layer in compact.layers}
    for target in dense.layers:
        layer = left.get(target.index)
        if layer is not None:
            for stage in STAGES:
                _solve_stage(target, layer, plan, stage, theirs, ours, masks, ridge)
            ours = [layer(x, attention_bias(m)) for x, m in zip(ours, masks, strict=True)]
        theirs = [target(x, attention_bias(m)) for x, m in zip(theirs, masks, strict=True)]
        progress(target.index)


def _solve_stage(
    target: Layer,
    layer: Layer,
    plan: GroupingPlan,
    roles: Sequence[Role],
    theirs: Sequence[Tensor],
    ours: Sequence[Tensor],
    masks: Sequence[Tensor],
    ridge: float,
) -> None:
    """Accumulate moments of one stage over all batches, then solve its maps."""
    sites, wanted = layer.sites(), target.sites()
    roles = [role for role in roles if role in sites or role in (Role.ATTENTION_OUTPUT, Role.FFN_OUT)]
    if not roles:
        return
    pooled: dict[Role, Moments] = {}
    means: dict[Role, list[Tensor]] = {}
    for x_dense, x_ours, mask in zip(theirs, ours, masks, strict=True):
        whole = roles[-1] in FEED_FORWARD
        dense_seen = _traced(target, x_dense, mask, wanted, whole)
        ours_seen = _traced(layer, x_ours, mask, sites, whole)
        for role in roles:
            goal = dense_seen[role][1]
            if role is Role.ATTENTION_OUTPUT:
                goal = goal + x_dense - x_ours
            elif role is Role.FFN_OUT:
                goal = goal + dense_seen["middle"][0] - ours_seen["middle"][0]
            if role in sites:
                rows = outputs(plan, Site(target.index, role)).to(goal.device)
                moments = Moments.of(ours_seen[role][0][mask], goal[mask][:, rows])
                pooled[role] = pooled[role] + moments if role in pooled else moments
            else:
                means.setdefault(role, []).append(goal[mask])
    for role, moments in pooled.items():
        _update(sites[role], moments, ridge)
    for role, goals in means.items():
        module = layer.attention if role is Role.ATTENTION_OUTPUT else layer.feed_forward
        assert isinstance(module, Constant)
        module.bias.copy_(torch.cat(goals).mean(0))


def _traced(
    layer: Layer, x: Tensor, mask: Tensor, sites: Mapping[Role, Linear], whole: bool
) -> dict[Role | str, tuple[Tensor, Tensor]]:
    """(input, output) of every map of a layer, and of its attention half under 'middle'.

    Without `whole` the feed-forward half, which costs most, is not run.
    """
    seen: dict[Role | str, tuple[Tensor, Tensor]] = {}
    names: dict[int, Role] = {id(module): role for role, module in sites.items()}

    def record(module: Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        seen[names[id(module)]] = (inputs[0], output)

    with hooked(list(sites.values()), record):
        middle = layer.attention_norm(x + layer.attention(x, attention_bias(mask)))
        if whole:
            layer.feed_forward(middle)
    seen["middle"] = (middle, middle)
    return seen


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
