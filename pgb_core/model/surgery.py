"""Rebuild an encoder from its dense weights and a plan. The only file that replaces modules and moves weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pgb_core.errors import PlanError
from pgb_core.model.blocks import Attention, Constant, FeedForward, Layer, Sublayer
from pgb_core.model.encoder import Encoder, EncoderConfig, Layers, dense_layer
from pgb_core.model.linear import Linear, cut
from pgb_core.model.linear.low_rank import LowRankLinear, factors
from pgb_core.plan import WRITING, Choice, Pattern, Plan, Role, Site


def apply_plan(dense: Encoder, plan: Plan) -> Encoder:
    """A new, compact encoder; `dense` is left as it was.

    Heads, channels and neurons that the plan leaves out are gone from the modules, and a layer of
    which nothing is left is gone from the list. The residual stream has the plan's order.
    Raises PlanError when the plan does not fit.
    """
    _check(dense, plan)
    dense = ordered(dense, plan)
    compact = _without_layers(dense)
    for layer in dense.layers:
        if layer.index not in plan.dropped_layers:
            compact.layers.append(_layer(layer, plan))
    return compact


@torch.no_grad()
def expanded(compact: Encoder, plan: Plan) -> Encoder:
    """An encoder of dense maps that computes what a plan's compact one does: its weights at their dense places, in the
    checkpoint's order of the stream, and 0 where the plan left nothing. Layers that are gone stay gone.

    A plan for what it may become is therefore a plan for the dense checkpoint. Raises PlanError where the attention of
    a head is fixed, which no dense map computes.
    """
    if plan.patterns:
        raise PlanError("a model with fixed attention has no dense form; begin with the checkpoint")
    found = _without_layers(compact)
    for layer in compact.layers:
        found.layers.append(_dense(layer, plan, compact.config))
    if plan.stream is None:
        return found
    return reordered(found, torch.tensor(plan.stream).argsort().tolist())


def ordered(dense: Encoder, plan: Plan) -> Encoder:
    """The dense encoder whose hidden states those of the plan's compact one are held against; itself where the plan
    has no order of the stream.
    """
    return dense if plan.stream is None else reordered(dense, plan.stream)


@torch.no_grad()
def reordered(dense: Encoder, order: Sequence[int]) -> Encoder:
    """An equal encoder of dense maps whose residual stream has another order; `dense` is left as it was.

    order: the dense channel at each position. It is folded into all that writes to the stream, normalises it or reads
    it, so nothing moves at run time.
    """
    found = copy.deepcopy(dense)
    embeddings, head = found.embeddings, found.head
    columns: list[nn.Module] = [head.output if head.dense is None else head.dense]
    rows: list[nn.Module] = [half.norm for layer in found.layers for half in layer.halves]
    if embeddings.projection is None:
        columns += [
            table for table in (embeddings.word, embeddings.position, embeddings.token_type) if table is not None
        ]
        rows.append(embeddings.norm)
    else:
        rows.append(embeddings.projection)
    for site, linear in found.sites().items():
        (rows if site.role in WRITING else columns).append(linear)
    parameters = [(module.get_parameter("weight"), 1) for module in columns]
    parameters += [(module.get_parameter(name), 0) for module in rows for name in ("weight", "bias")]
    for parameter, axis in parameters:
        parameter.copy_(parameter.index_select(axis, torch.tensor(order, device=parameter.device)))
    return found


def outputs(plan: Plan, site: Site) -> Tensor:
    """The dense rows that the outputs of a compact map stand for, in its order."""
    choices = plan.layer(site.layer)
    if site.role in WRITING:
        return torch.arange(choices[site.role].shape[0])
    if site.role is Role.FFN_IN:
        return _rows(choices[Role.FFN_IN])
    learned = _head_order(_rows(choices[Role.QUERY]), plan.head_dim)
    if site.role is not Role.VALUE:
        return _by_head(_rows(choices[Role.QUERY]), learned, plan.head_dim)
    fixed = [head for _, heads in _fixed(plan, site.layer) for head in heads]
    return _by_head(_rows(choices[Role.VALUE]), [*learned, *fixed], plan.head_dim)


def merge_groups(model: Encoder) -> None:
    """Put every map in as few kernels as it can be, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear):
                setattr(parent, name, child.merged())


def factorise(model: Encoder) -> dict[Site, LowRankLinear]:
    """Make two products of every map, in place: of full rank, so that they compute the same. By address."""
    found: dict[Site, LowRankLinear] = {}
    addresses = {id(linear): site for site, linear in model.sites().items()}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear) and id(child) in addresses:
                pair = factors(child.to_dense().detach(), min(child.out_features, child.in_features))
                found[addresses[id(child)]] = LowRankLinear(*pair, child.bias.detach().clone())
                setattr(parent, name, found[addresses[id(child)]])
    return found


def _without_layers(model: Encoder) -> Encoder:
    """A copy of the rest."""
    layers = model.layers
    model.layers = Layers()
    try:
        return copy.deepcopy(model)
    finally:
        model.layers = layers


def _dense(layer: Layer, plan: Plan, config: EncoderConfig) -> Layer:
    """A layer of dense maps that computes what a compact one does."""
    found = dense_layer(config, layer.index)
    for maps in found.maps().values():
        for parameter in maps.parameters():
            parameter.zero_()
    dense = found.maps()
    for role, linear in layer.maps().items():
        reads = {Role.ATTENTION_OUTPUT: Role.VALUE, Role.FFN_OUT: Role.FFN_IN}.get(role)
        rows = outputs(plan, Site(layer.index, role))
        cols = torch.arange(linear.in_features) if reads is None else outputs(plan, Site(layer.index, reads))
        dense[role].get_parameter("weight")[rows.unsqueeze(1), cols] = linear.to_dense().cpu()
        dense[role].bias[rows] = linear.bias.cpu()
    for half, role in zip(layer.halves, WRITING, strict=True):
        if isinstance(half.sublayer, Constant):
            dense[role].bias.copy_(half.sublayer.bias)
    for norm, other in zip(found.halves, layer.halves, strict=True):
        norm.norm.load_state_dict(other.norm.state_dict())
    return found


def _layer(layer: Layer, plan: Plan) -> Layer:
    index, choices, maps = layer.index, plan.layer(layer.index), layer.maps()

    def left(role: Role, writer: Role | None = None) -> Linear:
        """What is left of a map that reads what is left of another, or the stream."""
        dense, site = maps[role], Site(index, role)
        inputs = torch.arange(dense.in_features) if writer is None else outputs(plan, Site(index, writer))
        weight = dense.to_dense().detach()
        found = cut(choices[role], weight, dense.bias.detach(), outputs(plan, site), inputs)
        found.exact = site in plan.exact
        return found

    def constant(role: Role) -> Constant:
        return Constant(maps[role].bias.detach().clone())

    attention: Sublayer = constant(Role.ATTENTION_OUTPUT)
    feed_forward: Sublayer = constant(Role.FFN_OUT)
    if choices[Role.ATTENTION_OUTPUT].cost and isinstance(layer.attention, Attention):
        heads = len(_head_order(_rows(choices[Role.QUERY]), plan.head_dim))
        attention = Attention(
            left(Role.QUERY) if heads else None,
            left(Role.KEY) if heads else None,
            left(Role.VALUE),
            left(Role.ATTENTION_OUTPUT, Role.VALUE),
            heads,
            layer.attention.scale,
            [(pattern, len(fixed)) for pattern, fixed in _fixed(plan, index)],
        )
    if choices[Role.FFN_OUT].cost and isinstance(layer.feed_forward, FeedForward):
        feed_forward = FeedForward(left(Role.FFN_IN), left(Role.FFN_OUT, Role.FFN_IN), layer.feed_forward.activation)
    norms = copy.deepcopy(layer.attention_norm), copy.deepcopy(layer.feed_forward_norm)
    return Layer(attention, norms[0], feed_forward, norms[1], index)


def _check(dense: Encoder, plan: Plan) -> None:
    for site, linear in dense.sites().items():
        if site not in plan.choices:
            raise PlanError(f"{site}: the plan does not say what becomes of it")
        shape = plan.choices[site].shape
        if shape != (linear.out_features, linear.in_features):
            raise PlanError(
                f"{site}: the plan is for {shape[0]}x{shape[1]}, the model has "
                f"{linear.out_features}x{linear.in_features}"
            )
    unknown = sorted(set(plan.patterns) - set(range(plan.layers)))
    if unknown:
        raise PlanError(f"the plan fixes attention in layer {unknown[0]}, and has {plan.layers} layers")
    if plan.layers != dense.config.layers:
        raise PlanError(f"the plan has {plan.layers} layers, the model {dense.config.layers}")
    gone = set(range(plan.layers)) - {layer.index for layer in dense.layers} - set(plan.dropped_layers)
    if gone:
        raise PlanError(f"the plan keeps some of layer {min(gone)}, and the model no longer has it")
    for index in range(plan.layers):
        _check_layer(plan, index)


def _check_layer(plan: Plan, index: int) -> None:
    choices = plan.layer(index)
    rows = {role: set(choice.rows) for role, choice in choices.items()}
    for reader, writer in ((Role.FFN_OUT, Role.FFN_IN), (Role.ATTENTION_OUTPUT, Role.VALUE)):
        if not set(choices[reader].cols) <= rows[writer]:
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
    fixed = plan.patterns.get(index, {})
    for head in fixed:
        if head in heads[0]:
            raise PlanError(f"{Site(index, Role.QUERY)}: keeps head {head}, whose attention is fixed")
        if head not in heads[1]:
            raise PlanError(f"{Site(index, Role.VALUE)}: keeps nothing of head {head}, whose attention is fixed")
    if sorted([*heads[0], *fixed]) != heads[1]:
        raise PlanError(f"{Site(index, Role.VALUE)}: keeps other heads than the query")


def _fixed(plan: Plan, index: int) -> list[tuple[Pattern, list[int]]]:
    """The patterns that a layer has, and the heads of each, in the order of the compact value's channels."""
    given = plan.patterns.get(index, {})
    found = [(pattern, sorted(head for head, one in given.items() if one is pattern)) for pattern in Pattern]
    return [(pattern, heads) for pattern, heads in found if heads]


def _rows(choice: Choice) -> Tensor:
    return torch.tensor(tuple(choice.rows), dtype=torch.long)


def _head_order(rows: Tensor, head_dim: int) -> list[int]:
    """Heads in order of first appearance."""
    return list(dict.fromkeys(rows.div(head_dim, rounding_mode="floor").tolist()))


def _by_head(rows: Tensor, heads: list[int], head_dim: int) -> Tensor:
    """Rows sorted by head in the given order, keeping their order within a head."""
    owner = rows.div(head_dim, rounding_mode="floor")
    return torch.cat([rows[owner == head] for head in heads]) if heads else rows
