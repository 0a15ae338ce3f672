"""Rebuild an encoder from its dense weights and a plan. The only file that replaces modules."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pgb_core.errors import PlanError
from pgb_core.model.encoder import Attention, Constant, Encoder, FeedForward, Layer, Layers, Linear
from pgb_core.model.linear.grouped import GroupedLinear
from pgb_core.plan import Choice, GroupingPlan, Keep, Role, Site


def apply_plan(dense: Encoder, plan: GroupingPlan) -> Encoder:
    """A new, compact encoder; `dense` is left as it was.

    Heads, channels and neurons that the plan leaves out are gone from the modules, and a layer of
    which nothing is left is gone from the list. Raises PlanError when the plan does not fit.
    """
    _check(dense, plan)
    layers = dense.layers
    dense.layers = Layers()
    try:
        compact = copy.deepcopy(dense)
    finally:
        dense.layers = layers
    for layer in layers:
        if layer.index not in plan.dropped_layers:
            compact.layers.append(_layer(layer, plan, layer.index))
    return compact


def outputs(plan: GroupingPlan, site: Site) -> Tensor:
    """The dense rows that the outputs of a compact map stand for, in its order."""
    choices = plan.layer(site.layer)
    if site.role in (Role.ATTENTION_OUTPUT, Role.FFN_OUT):
        return torch.arange(choices[site.role].shape[0])
    if site.role is Role.FFN_IN:
        return _packed(choices[Role.FFN_IN])
    source = choices[Role.VALUE if site.role is Role.VALUE else Role.QUERY]
    return _by_head(_packed(source), _head_order(_packed(choices[Role.QUERY]), plan.head_dim), plan.head_dim)


def merge_groups(model: Encoder) -> None:
    """Write every map of several groups as one matrix, in place: more zeros, but one kernel."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, GroupedLinear) and (child.groups > 1 or child.out_index is not None):
                weight = child.to_dense().detach().unsqueeze(0)
                setattr(parent, name, GroupedLinear(weight, child.bias.detach(), child.in_features, None, None))


def _layer(layer: Layer, plan: GroupingPlan, index: int) -> Layer:
    choices = plan.layer(index)

    def cut(role: Role, linear: Linear, inputs: Tensor | None = None) -> GroupedLinear:
        assert isinstance(linear, nn.Linear)
        rows, cols = _blocks(choices[role])
        return GroupedLinear.from_dense(
            linear.weight.detach(), linear.bias.detach(), rows, cols, outputs(plan, Site(index, role)), inputs
        )

    attention: Attention | Constant
    feed_forward: FeedForward | Constant
    old = layer.attention
    assert isinstance(old, Attention)
    assert isinstance(layer.feed_forward, FeedForward)
    if choices[Role.ATTENTION_OUTPUT].cost:
        query, key, value = (
            cut(role, linear)
            for role, linear in ((Role.QUERY, old.query), (Role.KEY, old.key), (Role.VALUE, old.value))
        )
        mixed = outputs(plan, Site(index, Role.VALUE))
        heads = len(_head_order(mixed, plan.head_dim))
        output = cut(Role.ATTENTION_OUTPUT, old.output, mixed)
        attention = Attention(query, key, value, output, heads, old.scale)
    else:
        attention = Constant(old.output.bias.detach().clone())
    inner, outer = layer.feed_forward.inner, layer.feed_forward.outer
    if choices[Role.FFN_OUT].cost:
        feed_forward = FeedForward(
            cut(Role.FFN_IN, inner), cut(Role.FFN_OUT, outer, outputs(plan, Site(index, Role.FFN_IN))), "gelu"
        )
        feed_forward.activation = layer.feed_forward.activation
    else:
        feed_forward = Constant(outer.bias.detach().clone())
    norms = copy.deepcopy(layer.attention_norm), copy.deepcopy(layer.feed_forward_norm)
    return Layer(attention, norms[0], feed_forward, norms[1], index)


def _check(dense: Encoder, plan: GroupingPlan) -> None:
    for site, linear in dense.sites().items():
        if site not in plan.choices:
            raise PlanError(f"{site}: the plan does not say what becomes of it")
        shape = plan.choices[site].shape
        if shape != (linear.out_features, linear.in_features):
            raise PlanError(
                f"{site}: the plan is for {shape}, the model has {linear.out_features}x{linear.in_features}"
            )
    if plan.layers != len(dense.layers):
        raise PlanError(f"the plan has {plan.layers} layers, the model {len(dense.layers)}")
    for index in range(plan.layers):
        _check_layer(plan, index)


def _check_layer(plan: GroupingPlan, index: int) -> None:
    choices = plan.layer(index)
    rows = {role: set(_packed(choice).tolist()) for role, choice in choices.items()}
    for reader, writer in ((Role.FFN_OUT, Role.FFN_IN), (Role.ATTENTION_OUTPUT, Role.VALUE)):
        if not set(_read(choices[reader])) <= rows[writer]:
            raise PlanError(f"{Site(index, reader)}: reads an output that {writer} no longer has")
    if rows[Role.QUERY] != rows[Role.KEY]:
        raise PlanError(
            f"{Site(index, Role.KEY)}: keeps other channels than the query; they multiply, so keep the same"
        )
    heads = []
    for role in (Role.QUERY, Role.VALUE):
        counts = torch.tensor(sorted(rows[role]), dtype=torch.long).div(plan.head_dim, rounding_mode="floor")
        kept, sizes = counts.unique(return_counts=True)
        heads.append(kept.tolist())
        if len(set(sizes.tolist())) > 1:
            raise PlanError(f"{Site(index, role)}: heads keep different numbers of channels; keep as many in each")
    if heads[0] != heads[1]:
        raise PlanError(f"{Site(index, Role.VALUE)}: keeps other heads than the query")


def _blocks(choice: Choice) -> tuple[Tensor, Tensor]:
    if isinstance(choice, Keep):
        return torch.arange(choice.shape[0]).unsqueeze(0), torch.arange(choice.shape[1]).unsqueeze(0)
    return torch.tensor([g.rows for g in choice.groups]), torch.tensor([g.cols for g in choice.groups])


def _packed(choice: Choice) -> Tensor:
    rows = range(choice.shape[0]) if isinstance(choice, Keep) else choice.rows
    return torch.tensor(tuple(rows), dtype=torch.long)


def _read(choice: Choice) -> Sequence[int]:
    return range(choice.shape[1]) if isinstance(choice, Keep) else choice.cols


def _head_order(rows: Tensor, head_dim: int) -> list[int]:
    """Heads in order of first appearance."""
    return list(dict.fromkeys(rows.div(head_dim, rounding_mode="floor").tolist()))


def _by_head(rows: Tensor, heads: list[int], head_dim: int) -> Tensor:
    """Rows sorted by head in the given order, keeping their order within a head."""
    owner = rows.div(head_dim, rounding_mode="floor")
    return torch.cat([rows[owner == head] for head in heads]) if heads else rows
