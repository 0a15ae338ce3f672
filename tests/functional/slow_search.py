"""The search as it is written down, one option at a time and with everything built: slow, and easier to check.

What `pgb_core.search.grouping` and `menus` find is compared with what this finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pgb_core.plan import ATTENTION, FEED_FORWARD, Choice, Group, Grouping, Keep, Role
from pgb_core.prices import table_of
from pgb_core.search.budget import Option, pareto
from pgb_core.search.grouping import Blocks
from pgb_core.search.importance import by_unit
from pgb_core.search.menus import COLUMNS, COUNTS, MULTIPLE, WIDTHS

Recipe = Mapping[Role, Choice]
Importances = Mapping[Role, Tensor]


PRICES = table_of("fp32").prices


def importance_kept(importance: Tensor, rows: Tensor, cols: Tensor) -> float:
    """Sum of `importance` [out, in] inside the blocks `rows` [G, r] x `cols` [G, c]."""
    return float(importance[rows.unsqueeze(2), cols.unsqueeze(1)].sum())


def disjoint(importance: Tensor, groups: int, passes: int = 6) -> Blocks:
    """G equal blocks, one at a time on what remains, from the top-left.

    importance: [out, in]; `groups` must divide both sizes. Each group alternates `passes` times
    between its best columns and its best rows, then is fixed.
    """
    n_rows, n_cols = (size // groups for size in importance.shape)
    free_rows, free_cols = (torch.arange(size, device=importance.device) for size in importance.shape)
    rows, cols = [], []
    for _ in range(groups):
        rest = importance[free_rows][:, free_cols]
        picked_rows = torch.arange(rest.shape[0], device=rest.device)
        for _ in range(passes):
            picked_cols = _top(rest[picked_rows].sum(0), n_cols)
            picked_rows = _top(rest[:, picked_cols].sum(1), n_rows)
        rows.append(free_rows[picked_rows])
        cols.append(free_cols[picked_cols])
        free_rows = _without(free_rows, picked_rows)
        free_cols = _without(free_cols, picked_cols)
    return _blocks(importance, torch.stack(rows), torch.stack(cols))


def shared(
    importance: Tensor, groups: int, rows: int, cols: int, passes: int = 6, start: Tensor | None = None
) -> Blocks:
    """`groups` blocks of `rows` x `cols`; rows disjoint, columns free.

    importance: [out, in]. Alternates exact column choice and balanced row assignment, keeping a
    step only if it raises the importance kept. `start` [groups, rows] replaces the first split,
    which orders rows along the main direction in which their column profiles differ.
    """
    row_groups = _split(importance, groups, rows) if start is None else start
    col_groups = _best_columns(importance, row_groups, cols)
    best = _blocks(importance, row_groups, col_groups)
    for _ in range(passes):
        gains = importance.new_empty(importance.shape[0], groups)
        for index in range(groups):
            gains[:, index] = importance[:, best.cols[index]].sum(1)
        row_groups = assign(gains, rows)
        candidate = _blocks(importance, row_groups, _best_columns(importance, row_groups, cols))
        if candidate.kept <= best.kept:
            break
        best = candidate
    return best


def assign(gains: Tensor, capacity: int) -> Tensor:
    """Give each of G groups `capacity` rows so that the sum of gains is high; extra rows go.

    gains: [rows, G] -> [G, capacity]. Exact for one and two groups and for few rows; otherwise
    a crowded group serves the rows that would lose most by their second choice, and closes.
    """
    n_rows, groups = gains.shape
    if groups == 1:
        return _top(gains[:, 0], capacity).unsqueeze(0)
    if n_rows * groups * capacity <= 1 << 16:
        slots = gains.repeat_interleave(capacity, dim=1)
        picked, slot = linear_sum_assignment(slots.double().cpu().numpy(), maximize=True)
        owner = torch.full((n_rows,), -1, device=gains.device)
        owner[torch.as_tensor(picked, device=gains.device)] = torch.as_tensor(slot // capacity, device=gains.device)
    else:
        owner = _served_by_regret(gains, capacity)
    return torch.stack([torch.nonzero(owner == index).flatten() for index in range(groups)])


def _served_by_regret(gains: Tensor, capacity: int) -> Tensor:
    """Owner of each row (-1 for none). gains: [rows, G]."""
    n_rows, groups = gains.shape
    if n_rows > groups * capacity:
        kept = _top(gains.max(1).values, groups * capacity)
        owner = gains.new_full((n_rows,), -1, dtype=torch.long)
        owner[kept] = _served_by_regret(gains[kept], capacity)
        return owner
    owner = gains.new_full((n_rows,), -1, dtype=torch.long)
    waiting = torch.arange(n_rows, device=gains.device)
    closed = torch.zeros(groups, dtype=torch.bool, device=gains.device)
    while len(waiting):
        wishes = gains[waiting].masked_fill(closed, -torch.inf)
        best, choice = wishes.max(1)
        second = wishes.scatter(1, choice.unsqueeze(1), -torch.inf).max(1).values
        crowded = torch.bincount(choice, minlength=groups) > capacity
        if not crowded.any():
            owner[waiting] = choice
            break
        for group in torch.nonzero(crowded).flatten():
            asking = torch.nonzero(choice == group).flatten()
            served = asking[_top((best - second)[asking], capacity)]
            owner[waiting[served]] = group
        closed |= crowded
        waiting = torch.nonzero(owner < 0).flatten()
    return owner


def _split(importance: Tensor, groups: int, rows: int) -> Tensor:
    kept = _top(importance.sum(1), groups * rows)
    profile = importance[kept].sqrt()
    profile = profile / profile.norm(dim=1, keepdim=True).clamp_min(1e-30)
    profile = profile - profile.mean(0)
    direction = profile[profile.norm(dim=1).argmax()]
    for _ in range(8):
        direction = profile.T @ (profile @ direction)
        direction = direction / direction.norm().clamp_min(1e-30)
    order = (profile @ direction).argsort(stable=True)
    return kept[order].view(groups, rows).sort(dim=1).values


def _best_columns(importance: Tensor, row_groups: Tensor, cols: int) -> Tensor:
    return torch.stack([_top(importance[rows].sum(0), cols) for rows in row_groups])


def _blocks(importance: Tensor, rows: Tensor, cols: Tensor) -> Blocks:
    return Blocks(rows, cols, importance_kept(importance, rows, cols))


def _top(values: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest values, ascending; ties go to the lower index."""
    return values.argsort(descending=True, stable=True)[:count].sort().values


def _without(values: Tensor, positions: Tensor) -> Tensor:
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[positions] = False
    return values[mask]


@dataclass(frozen=True)
class Part:
    """One matrix pruned: its blocks in dense indices, the importance they keep, their run-time price."""

    role: Role
    choice: Choice
    kept: float
    price: float


def dropped(shapes: Mapping[Role, tuple[int, int]]) -> Recipe:
    """The recipe that leaves nothing of a sublayer."""
    return {role: Grouping((), shape) for role, shape in shapes.items()}


def disjoint_menu(importances: Importances, g_max: int, passes: int) -> list[Option]:
    """Every combination of 1 to `g_max` disjoint groups a matrix, and dropping the sublayer."""
    menu = [Option(0, 0.0, 0.0, dropped({role: _shape(m) for role, m in importances.items()}))]
    combined = [Option(0, 0.0, 0.0, {})]
    for role, matrix in importances.items():
        parts = [_keep(role, matrix)]
        for count in range(2, g_max + 1):
            if matrix.shape[0] % count == 0 and matrix.shape[1] % count == 0:
                parts.append(_part(role, matrix, disjoint(matrix, count, passes)))
        combined = _combine(combined, parts)
    return pareto(menu + combined)


def feed_forward_menu(importances: Importances, passes: int) -> list[Option]:
    """Neurons kept x (groups, columns) of either matrix, and dropping the sublayer."""
    inner, outer = (importances[role] for role in FEED_FORWARD)
    order = (inner.sum(1) + outer.sum(0)).argsort(descending=True, stable=True)
    menu = [Option(0, 0.0, 0.0, dropped({role: _shape(m) for role, m in importances.items()}))]
    every, inputs = torch.arange(outer.shape[0]), torch.arange(inner.shape[1])
    for width in WIDTHS:
        neurons = order[: _rounded(width, len(order))].sort().values
        outer_parts = _variants(Role.FFN_OUT, outer, every, neurons, passes)
        whole_width = _variants(Role.FFN_IN, inner, neurons, inputs, passes)
        for part in outer_parts:
            read = _inputs(part.choice)
            if len(read) == len(neurons):
                inner_parts = whole_width
            else:  # a neuron that no group reads leaves the first matrix too
                inner_parts = _variants(Role.FFN_IN, inner, torch.tensor(read), inputs, passes, counts=(1,))
            around = PRICES.of_sublayer(len(every), False) + PRICES.of_neurons(len(read))
            menu += _combine([_option([part], around)], inner_parts)
    return pareto(menu)


def attention_menu(importances: Importances, head_dim: int, passes: int) -> list[Option]:
    """Heads kept x channels a head x (groups of heads, columns), and dropping the sublayer."""
    query, key, value, output = (importances[role] for role in ATTENTION)
    heads = query.shape[0] // head_dim
    channel_qk = (query.sum(1) + key.sum(1)).view(heads, head_dim)
    channel_v = (value.sum(1) + output.sum(0)).view(heads, head_dim)
    ranked = (channel_qk.sum(1) + channel_v.sum(1)).argsort(descending=True, stable=True)
    menu = [Option(0, 0.0, 0.0, dropped({role: _shape(m) for role, m in importances.items()}))]
    for count in range(1, heads + 1):
        kept_heads = ranked[:count].sort().values
        for groups in (g for g in COUNTS if count % g == 0):
            menu += _attention_options(importances, kept_heads, groups, head_dim, channel_qk, channel_v, passes)
    return pareto(menu)


def _attention_options(
    importances: Importances,
    heads: Tensor,
    groups: int,
    head_dim: int,
    channel_qk: Tensor,
    channel_v: Tensor,
    passes: int,
) -> list[Option]:
    query, key, value, output = (importances[role] for role in ATTENTION)
    split = _head_groups(importances, heads, groups, head_dim, passes)
    scored, mixed = [], []
    for rows in (_channels(channel_qk, split, width) for width in _head_widths(head_dim)):
        for columns in _column_counts(query.shape[1], groups):
            parts = [_part(role, m, _read(m, rows, columns)) for role, m in ((Role.QUERY, query), (Role.KEY, key))]
            products = PRICES.of_attention(len(heads), 2 * rows.numel() // len(heads))
            scored.append(_option(parts, products))
    every = torch.arange(output.shape[0])
    for rows in (_channels(channel_v, split, width) for width in _head_widths(head_dim)):
        values = [_part(Role.VALUE, value, _read(value, rows, c)) for c in _column_counts(value.shape[1], groups)]
        outputs = [
            part
            for part in _variants(Role.ATTENTION_OUTPUT, output, every, rows.flatten(), passes)
            if len(_inputs(part.choice)) == rows.numel()  # a value channel that nothing reads is waste
        ]
        mixed += _combine(_combine([Option(0, 0.0, 0.0, {})], values), outputs)
    mixed = pareto(mixed)
    there = PRICES.of_sublayer(len(every), True)
    return [
        Option(a.cost + b.cost, a.price + b.price + there, a.kept + b.kept, {**a.recipe, **b.recipe})
        for a in pareto(scored)
        for b in mixed
    ]


def _head_groups(importances: Importances, heads: Tensor, groups: int, head_dim: int, passes: int) -> Tensor:
    """Split heads into groups that like the same inputs: [groups, heads / groups]."""
    if groups == 1:
        return heads.unsqueeze(0)
    stacked = torch.cat(
        [by_unit(importances[role], head_dim)[heads] for role in (Role.QUERY, Role.KEY, Role.VALUE)], dim=1
    )
    blocks = shared(stacked, groups, len(heads) // groups, stacked.shape[1] // 2, passes)
    return heads[blocks.rows]


def _channels(importance: Tensor, split: Tensor, width: int) -> Tensor:
    """Rows of each group: the best `width` channels of each of its heads. [groups, rows]."""
    head_dim = importance.shape[1]
    best = importance.argsort(dim=1, descending=True, stable=True)[:, :width].sort(dim=1).values
    return (split.unsqueeze(2) * head_dim + best[split]).flatten(1)


def _head_widths(head_dim: int) -> list[int]:
    return sorted({_rounded(width, head_dim) for width in (1.0, 0.75, 0.5, 0.25)})


def _column_counts(size: int, groups: int) -> list[int]:
    widths = COLUMNS if groups == 1 else COLUMNS[1:]
    return sorted({_rounded(width, size) for width in widths})


def _read(importance: Tensor, rows: Tensor, columns: int) -> Blocks:
    """Blocks of given rows [groups, r] with the best `columns` of each."""
    cols = torch.stack([importance[r].sum(0).topk(columns).indices.sort().values for r in rows])
    return Blocks(rows, cols, importance_kept(importance, rows, cols))


def _variants(
    role: Role, matrix: Tensor, rows: Tensor, cols: Tensor, passes: int, counts: tuple[int, ...] = COUNTS
) -> list[Part]:
    """A matrix restricted to `rows` and `cols`, in several numbers of groups and columns."""
    inside = matrix[rows][:, cols]
    parts = []
    for groups in counts:
        if groups > 1 and len(rows) % (groups * MULTIPLE):
            continue
        start = None
        for columns in _column_counts(len(cols), groups):
            if groups == 1:
                blocks = _read(inside, torch.arange(len(rows)).unsqueeze(0), columns)
            else:
                blocks = shared(inside, groups, len(rows) // groups, columns, passes, start)
                start = blocks.rows
            found = Blocks(rows[blocks.rows], cols[blocks.cols], blocks.kept)
            parts.append(_part(role, matrix, found, available=len(cols)))
    return _front(parts)


def _front(parts: Iterable[Part]) -> list[Part]:
    return [option.recipe for option in pareto([Option(p.choice.cost, p.price, p.kept, p) for p in parts])]


def _combine(options: list[Option], parts: Iterable[Part]) -> list[Option]:
    return pareto(
        [
            Option(
                o.cost + part.choice.cost,
                o.price + part.price,
                o.kept + part.kept,
                {**o.recipe, part.role: part.choice},
            )
            for part in parts
            for o in options
        ]
    )


def _option(parts: Iterable[Part], extra_price: float) -> Option:
    parts = list(parts)
    return Option(
        sum(p.choice.cost for p in parts),
        sum(p.price for p in parts) + extra_price,
        sum(p.kept for p in parts),
        {p.role: p.choice for p in parts},
    )


def _keep(role: Role, matrix: Tensor) -> Part:
    return Part(role, Keep(_shape(matrix)), float(matrix.sum()), PRICES.of_blocks(1, *_shape(matrix), 0))


def _part(role: Role, matrix: Tensor, blocks: Blocks, available: int | None = None) -> Part:
    """`available`: inputs that still exist; reading all of them, in one group, needs no gather."""
    if blocks.cost == matrix.numel():
        return _keep(role, matrix)
    groups = tuple(Group(tuple(r), tuple(c)) for r, c in zip(blocks.rows.tolist(), blocks.cols.tolist(), strict=True))
    count, columns = blocks.cols.shape
    gathered = 0 if count == 1 and columns == (available or matrix.shape[1]) else count * columns
    if count > 1 and role in (Role.ATTENTION_OUTPUT, Role.FFN_OUT):
        gathered += matrix.shape[0]
    price = PRICES.of_blocks(count, blocks.rows.shape[1], columns, gathered)
    return Part(role, Grouping(groups, _shape(matrix)), blocks.kept, price)


def _inputs(choice: Choice) -> Sequence[int]:
    return range(choice.shape[1]) if isinstance(choice, Keep) else choice.cols


def _shape(matrix: Tensor) -> tuple[int, int]:
    return (matrix.shape[0], matrix.shape[1])


def _rounded(share: float, size: int) -> int:
    """So much of a size, in the steps that kernels like; the whole is the whole."""
    return size if share == 1 else min(size, max(MULTIPLE, int(share * size) // MULTIPLE * MULTIPLE))
