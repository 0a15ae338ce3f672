"""Chooses which heads and neurons of a sublayer stay by the error of what it writes, as many as a plan keeps.

Optimal Brain Surgeon (Hassibi and Stork 1993), for inputs of a map and a squared error of its outputs: what has been
removed is made up for by what is left before the next removal is judged, so of two neurons that do the same one goes.
With P the inverse of the inputs' second moments and W the weights, removing inputs B costs `tr(W_B P_BB^-1 W_B')`, and
then `W -= W_B P_BB^-1 P_B` and `P -= P_B' P_BB^-1 P_B`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pgb_core.plan import ATTENTION, FEED_FORWARD, Choice, Group, Grouping, Keep, Plan, Role, Site, block
from pgb_core.search import nested
from pgb_core.search.pull import factored

BLOCK = 32  # units that are removed between updates of all that is left
CANDIDATES = 128  # units among which these are looked for: those that cost least before


class Surgery:
    """The inputs of one map, of which more and more are removed. left: those that are not, ascending; error: of the
    outputs, summed over what was removed, the pull toward the old weights included; ridge: that was taken.

    moments: covariance of the inputs, [in, in]; weight: [out, in]; ridge: pull, as a share of the mean variance; a
    larger one is taken where it is too small for these inputs. Raises PlanError where they are not finite.
    """

    def __init__(self, moments: Tensor, weight: Tensor, ridge: float) -> None:
        covariance = moments.double()
        factor, _, self.ridge = factored(covariance, ridge, 1e-12)
        self._inverse = torch.cholesky_inverse(factor)
        self._weight = weight.double()
        self.left = torch.arange(len(covariance), device=covariance.device)
        self.error = 0.0

    def remove(self, count: int, width: int = 1, within: int = 0, least: int = 0) -> None:
        """Remove units of `width` neighbours, one after the other, each time the one that costs least.

        least: inputs that have to stay of each `within` neighbours. Raises ValueError when more would have to go.
        """
        while count:
            done = self._remove_some(min(count, BLOCK), width, within, least)
            if not done:
                raise ValueError(f"{count} more are to be removed, and none may go")
            count -= done

    def _remove_some(self, count: int, width: int, within: int, least: int) -> int:
        """Remove up to `count` units among those that cost least; what is left is updated once, at the end."""
        units = torch.arange(len(self.left), device=self.left.device).view(-1, width)
        errors = _errors(self._inverse, self._weight, units)
        owners = self.left[units[:, 0]] // within if within else torch.zeros_like(units[:, 0])
        spare = torch.bincount(owners) - least if within else torch.tensor([len(self.left)], device=owners.device)
        errors[spare[owners] < width] = torch.inf
        near = errors.argsort(stable=True)[:CANDIDATES]
        units, owners = units[near], owners[near]
        inputs = units.flatten()
        inverse, weight = self._inverse[inputs][:, inputs], self._weight[:, inputs]
        local = torch.arange(len(inputs), device=inputs.device).view(-1, width)
        gone = torch.zeros(len(local), dtype=torch.bool, device=inputs.device)
        for _ in range(count):
            errors = _errors(inverse, weight, local)
            errors[gone | (spare[owners] < width)] = torch.inf
            best = int(errors.argmin())
            if not torch.isfinite(errors[best]):
                break
            self.error += float(errors[best])
            inverse, weight = _without(inverse, weight, local[best])
            gone[best] = True
            spare[owners[best]] -= width
        removed = units[gone].flatten()
        inverse, weight = _without(self._inverse, self._weight, removed)
        stays = torch.ones(len(self.left), dtype=torch.bool, device=removed.device)
        stays[removed] = False
        self._inverse, self._weight, self.left = inverse[stays][:, stays], weight[:, stays], self.left[stays]
        return int(gone.sum())


def _errors(inverse: Tensor, weight: Tensor, units: Tensor) -> Tensor:
    """What each unit [units, width] costs; inputs that are gone have no meaning."""
    if units.shape[1] == 1:
        own = units[:, 0]
        return weight[:, own].square().sum(0) / inverse.diagonal()[own].clamp_min(1e-300)
    blocks = inverse[units.unsqueeze(2), units.unsqueeze(1)]
    eye = torch.eye(units.shape[1], dtype=inverse.dtype, device=inverse.device)
    gone = blocks.diagonal(dim1=1, dim2=2).amax(1) <= 1e-300
    blocks = torch.where(gone[:, None, None], eye, blocks)
    columns = weight[:, units].transpose(0, 1)
    return (torch.linalg.solve(blocks, columns.transpose(1, 2)) * columns.transpose(1, 2)).sum((1, 2))


def _without(inverse: Tensor, weight: Tensor, removed: Tensor) -> tuple[Tensor, Tensor]:
    """Both after these inputs were removed; their own rows and columns are 0, but for rounding."""
    gain = torch.linalg.solve(inverse[removed][:, removed], inverse[removed])
    found = inverse - inverse[:, removed] @ gain
    found[removed] = 0.0
    found[:, removed] = 0.0
    return found, weight - weight[:, removed] @ gain


def reselected(
    plan: Plan,
    importances: Mapping[Site, Tensor],
    moments: Mapping[Site, Tensor],
    weights: Mapping[Site, Tensor],
    ridge: float,
) -> tuple[Plan, int, float]:
    """The plan with heads, channels of heads and neurons chosen by reconstruction, how many sublayers that changed, and
    the largest ridge that was taken.

    As many stay in each sublayer as before. Sublayers in groups stay as they are. Query and key channels of a head that
    comes in are those of the most importance. importances, weights: of every map, [out, in], in the checkpoint's order;
    moments: covariance of what each map that writes to the stream reads, [in, in].
    """
    choices, changed, taken = dict(plan.choices), 0, ridge
    for layer in range(plan.layers):
        mine = plan.layer(layer)
        neurons, once = _neurons(mine, layer, moments, weights, ridge)
        heads, again = _heads(plan, layer, importances, moments, weights, ridge)
        found, taken = neurons | heads, max(taken, once, again)
        for roles in (ATTENTION, FEED_FORWARD):
            changed += any(role in found and found[role] != mine[role] for role in roles)
        choices |= {Site(layer, role): choice for role, choice in found.items()}
    return replace(plan, choices=choices), changed, taken


def _neurons(
    choices: Mapping[Role, Choice],
    layer: int,
    moments: Mapping[Site, Tensor],
    weights: Mapping[Site, Tensor],
    ridge: float,
) -> tuple[dict[Role, Choice], float]:
    """The feed-forward part with other neurons; nothing where all, none, or groups of them stay. And the ridge."""
    inner, outer = (choices[role] for role in FEED_FORWARD)
    blocks = _block(inner), _block(outer)
    if blocks[0] is None or blocks[1] is None or set(inner.rows) != set(outer.cols):
        return {}, ridge
    site = Site(layer, Role.FFN_OUT)
    surgery = Surgery(moments[site], weights[site], ridge)
    surgery.remove(inner.shape[0] - len(inner.rows))
    left = tuple(surgery.left.tolist())
    found = {
        Role.FFN_IN: block(left, blocks[0].cols, inner.shape),
        Role.FFN_OUT: block(blocks[1].rows, left, outer.shape),
    }
    return found, surgery.ridge


def _heads(
    plan: Plan,
    layer: int,
    importances: Mapping[Site, Tensor],
    moments: Mapping[Site, Tensor],
    weights: Mapping[Site, Tensor],
    ridge: float,
) -> tuple[dict[Role, Choice], float]:
    """The attention with other heads, and other value channels in them; nothing where groups or none of them stay. And
    the ridge.
    """
    choices, size = plan.layer(layer), plan.head_dim
    query, key, value, output = (_block(choices[role]) for role in ATTENTION)
    if query is None or key is None or value is None or output is None or set(value.rows) != set(output.cols):
        return {}, ridge
    site, every = Site(layer, Role.ATTENTION_OUTPUT), choices[Role.VALUE].shape[0] // size
    old = sorted({row // size for row in value.rows})
    width = len(value.rows) // len(old)
    surgery = Surgery(moments[site], weights[site], ridge)
    surgery.remove(every - len(old), size)
    surgery.remove(len(old) * (size - width), within=size, least=width)
    left = tuple(surgery.left.tolist())
    scored = [_scored(plan, layer, importances, head, query, key) for head in sorted({row // size for row in left})]
    rows = tuple(row for some in scored for row in some)
    sides = ((rows, query.cols), (rows, key.cols), (left, value.cols), (output.rows, left))
    changed = {role: block(*side, choices[role].shape) for role, side in zip(ATTENTION, sides, strict=True)}
    return changed, surgery.ridge


def _scored(
    plan: Plan, layer: int, importances: Mapping[Site, Tensor], head: int, query: Group, key: Group
) -> Sequence[int]:
    """The query and key channels of a head: its own, or those of most importance if it had none."""
    own = [row for row in query.rows if row // plan.head_dim == head]
    if own:
        return sorted(own)
    count = len(query.rows) // len({row // plan.head_dim for row in query.rows})
    sums = torch.zeros(plan.head_dim, dtype=torch.double)
    for role, group in ((Role.QUERY, query), (Role.KEY, key)):
        values = importances[Site(layer, role)].double().cpu()
        if plan.stream is not None:
            values = nested.in_order(values, role, torch.tensor(plan.stream))
        rows = values[head * plan.head_dim : (head + 1) * plan.head_dim]
        sums += rows[:, list(group.cols)].sum(1)
    best = sums.argsort(descending=True, stable=True)[:count].sort().values
    return (head * plan.head_dim + best).tolist()


def _block(choice: Choice) -> Group | None:
    """The one block that is left of a matrix; None where it is none, several, or of another kind."""
    if isinstance(choice, Keep):
        return Group(tuple(choice.rows), tuple(choice.cols))
    return choice.groups[0] if isinstance(choice, Grouping) and len(choice.groups) == 1 else None
