"""The ways to prune one sublayer, each with its cost and the importance it keeps.

`shared` keeps together what depends on each other: a neuron leaves both feed-forward matrices, a head leaves all four
attention matrices, a query channel is removed with its key channel, and a value channel with its column of the output
map. `disjoint` splits every matrix by itself, as the paper does. `nested` is in `pgb_core.search.nested`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgb_core.plan import ATTENTION, FEED_FORWARD, WRITING, Choice, Group, Grouping, Keep, Role
from pgb_core.search import grouping, importance
from pgb_core.search.budget import Option, combine, pareto
from pgb_core.search.grouping import Blocks, Shared
from pgb_core.search.prices import Prices

WIDTHS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625)
COLUMNS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
COUNTS = (1, 2, 4)
HEAD_WIDTHS = (1.0, 0.75, 0.5, 0.25)
MULTIPLE = 8


@dataclass(frozen=True, eq=False)
class Draft:
    """What may become a choice of the plan. Most drafts never stand in one, so choices are made when asked for.

    Blocks of a matrix: rows [G, r], cols [G, c], dense indices. Without groups nothing is left.
    """

    shape: tuple[int, int]
    rows: Tensor
    cols: Tensor

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Draft:
        """Nothing pruned: one block of everything."""
        return cls(shape, torch.arange(shape[0]).unsqueeze(0), torch.arange(shape[1]).unsqueeze(0))

    @property
    def cost(self) -> int:
        """Weights kept."""
        return self.rows.numel() * self.cols.shape[1]

    @property
    def outputs(self) -> int:
        """Rows in a group."""
        return self.rows.numel()

    @cached_property
    def inputs(self) -> Tensor:
        """Columns that a group reads, ascending."""
        return self.cols.unique()

    @property
    def mask(self) -> Tensor:
        """Whether each weight is kept, [out, in]."""
        kept = torch.zeros(self.shape, dtype=torch.bool)
        if self.cost:
            kept[self.rows.unsqueeze(2), self.cols.unsqueeze(1)] = True
        return kept

    def choice(self) -> Choice:
        """The same in tuples; a matrix of which all is kept stays as it is, in any order."""
        if self.cost == self.shape[0] * self.shape[1]:
            return Keep(self.shape)
        pairs = zip(self.rows.tolist(), self.cols.tolist(), strict=True)
        return Grouping(tuple(Group(tuple(r), tuple(c)) for r, c in pairs), self.shape)

    def reading(self, order: Tensor) -> Draft:
        """The same blocks, with columns in the order in which they stand in `order`."""
        place = torch.empty(self.shape[1], dtype=torch.long)
        place[order] = torch.arange(len(order))
        return Draft(self.shape, self.rows, order[place[self.cols].sort(dim=1).values])


Recipe = Mapping[Role, Draft]
Menu = list[Option[Recipe]]
Importances = Mapping[Role, Tensor]


@dataclass(frozen=True)
class Part:
    """One matrix pruned: its blocks in dense indices, the importance they keep, their run-time price."""

    role: Role
    draft: Draft
    kept: float
    price: float


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix as its menu needs it: its importance [out, in] in float64, its sum, and what its parts take to run."""

    role: Role
    values: Tensor
    total: float
    prices: Prices

    @classmethod
    def of(cls, importances: Importances, role: Role, prices: Prices) -> Matrix:
        """That of a role."""
        values = importances[role].double()
        return cls(role, values, float(values.sum()), prices)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs, inputs."""
        return (self.values.shape[0], self.values.shape[1])

    def whole(self) -> Part:
        """Nothing pruned."""
        return Part(self.role, Draft.whole(self.shape), self.total, self.prices.of_blocks(1, *self.shape, 0))

    def part(self, blocks: Blocks, available: int | None = None) -> Part:
        """`available`: inputs that still exist; reading all of them, in one group, needs no gather."""
        if blocks.cost == self.values.numel():
            return self.whole()
        count, columns = blocks.cols.shape
        gathered = 0 if count == 1 and columns == (available or self.shape[1]) else count * columns
        if count > 1 and self.role in WRITING:
            gathered += self.shape[0]
        price = self.prices.of_blocks(count, blocks.rows.shape[1], columns, gathered)
        return Part(self.role, Draft(self.shape, blocks.rows, blocks.cols), blocks.kept, price)


def chosen(recipe: Recipe) -> dict[Role, Choice]:
    """What a plan holds of a recipe."""
    return {role: draft.choice() for role, draft in recipe.items()}


def dropped(shapes: Mapping[Role, tuple[int, int]]) -> Recipe:
    """The recipe that leaves nothing of a sublayer."""
    none = torch.empty(0, 0, dtype=torch.long)
    return {role: Draft(shape, none, none) for role, shape in shapes.items()}


def disjoint_menu(importances: Importances, prices: Prices, g_max: int, passes: int) -> Menu:
    """Every combination of 1 to `g_max` disjoint groups a matrix, and dropping the sublayer."""
    combined: Menu = [Option(0, 0.0, 0.0, {})]
    for role in importances:
        matrix = Matrix.of(importances, role, prices)
        parts = [matrix.whole()]
        for count in grouping.divisors(matrix.values, g_max)[1:]:
            parts.append(matrix.part(grouping.disjoint(matrix.values, count, passes)))
        combined = combine(combined, [option_of([part]) for part in parts])
    return pareto([nothing_left(importances), *combined])


def feed_forward_menu(importances: Importances, prices: Prices, passes: int) -> Menu:
    """Neurons kept x (groups, columns) of either matrix, and dropping the sublayer."""
    inner, outer = (Matrix.of(importances, role, prices) for role in FEED_FORWARD)
    order = (inner.values.sum(1) + outer.values.sum(0)).argsort(descending=True, stable=True)
    menu = [nothing_left(importances)]
    every, inputs = torch.arange(outer.shape[0]), torch.arange(inner.shape[1])
    there = prices.of_sublayer(len(every), False)
    for width in WIDTHS:
        neurons = order[: rounded(width, len(order))].sort().values
        whole_width = _variants(inner, neurons, inputs, passes)
        for part in _variants(outer, every, neurons, passes):
            read = part.draft.inputs
            # A neuron that no group reads leaves the first matrix too.
            inner_parts = (
                whole_width if len(read) == len(neurons) else _variants(inner, read, inputs, passes, counts=(1,))
            )
            around = there + prices.of_neurons(len(read))
            menu += combine([option_of([part], around)], [option_of([p]) for p in inner_parts])
    return pareto(menu)


def attention_menu(importances: Importances, head_dim: int, prices: Prices, passes: int) -> Menu:
    """Heads kept x channels a head x (groups of heads, columns), and dropping the sublayer."""
    menu = [nothing_left(importances)]
    heads = Heads(importances, head_dim, prices, passes)
    for count in range(1, len(heads.ranked) + 1):
        menu += heads.options(heads.ranked[:count].sort().values)
    return pareto(menu)


class Heads:
    """The options of one attention sublayer, by the heads that are kept.

    Sums over the best channels of every head are taken once: those of any set of heads are sums of them.
    """

    def __init__(self, importances: Importances, head_dim: int, prices: Prices, passes: int) -> None:
        self.query, self.key, self.value, self.output = (Matrix.of(importances, role, prices) for role in ATTENTION)
        self.prices = prices
        self.passes = passes
        self.widths = sorted({rounded(width, head_dim) for width in HEAD_WIDTHS})
        channel_qk = (self.query.values.sum(1) + self.key.values.sum(1)).view(-1, head_dim)
        channel_v = (self.value.values.sum(1) + self.output.values.sum(0)).view(-1, head_dim)
        self.ranked = (channel_qk.sum(1) + channel_v.sum(1)).argsort(descending=True, stable=True)
        self._best_qk, self._best_v = (best_channels(scored, self.widths) for scored in (channel_qk, channel_v))
        self._sums = {
            (matrix.role, width): matrix.values[best[width]].sum(1)
            for matrix, best in ((self.query, self._best_qk), (self.key, self._best_qk), (self.value, self._best_v))
            for width in self.widths
        }
        self._by_head = torch.cat(
            [importance.by_unit(matrix.values, head_dim) for matrix in (self.query, self.key, self.value)], dim=1
        )

    def options(self, heads: Tensor) -> Menu:
        """Every way to keep these heads (ascending) and no other."""
        found: Menu = []
        outputs = {width: self._outputs(self._best_v[width][heads].flatten()) for width in self.widths}
        for groups in (g for g in COUNTS if len(heads) % g == 0):
            split = self._split(heads, groups)
            scored = [option for width in self.widths for option in self._scored(split, width)]
            mixed = [option for width in self.widths for option in self._mixed(split, width, outputs[width])]
            there: Option[Recipe] = Option(0, self.prices.of_sublayer(self.output.shape[0], True), 0.0, {})
            found += combine(pareto(scored), combine([there], mixed))
        return found

    def _split(self, heads: Tensor, groups: int) -> Tensor:
        """Heads in groups that like the same inputs: [groups, heads / groups]."""
        if groups == 1:
            return heads.unsqueeze(0)
        inputs = self._by_head[heads]
        blocks = Shared(inputs, self.passes).search(groups, len(heads) // groups, inputs.shape[1] // 2)
        return heads[blocks.rows]

    def _scored(self, split: Tensor, width: int) -> Iterable[Option[Recipe]]:
        """Query and key: the best `width` channels of each head, in every number of columns."""
        rows = self._best_qk[width][split].flatten(1)
        products = self.prices.of_attention(split.numel(), 2 * width)
        for pair in zip(*(self._read(m, split, width, rows) for m in (self.query, self.key)), strict=True):
            yield option_of(pair, products)

    def _mixed(self, split: Tensor, width: int, outputs: Sequence[Part]) -> Menu:
        """Value and output, in every number of columns and of groups."""
        rows = self._best_v[width][split].flatten(1)
        values = self._read(self.value, split, width, rows)
        if len(split) > 1:  # columns of the output map in the order of the value channels
            outputs = [Part(p.role, p.draft.reading(rows.flatten()), p.kept, p.price) for p in outputs]
        return combine([option_of([part]) for part in values], [option_of([part]) for part in outputs])

    def _outputs(self, channels: Tensor) -> list[Part]:
        """The output map over these value channels. One that nothing reads is waste, so all must be read."""
        every = torch.arange(self.output.shape[0])
        parts = _variants(self.output, every, channels, self.passes)
        return [part for part in parts if len(part.draft.inputs) == len(channels)]

    def _read(self, matrix: Matrix, split: Tensor, width: int, rows: Tensor) -> list[Part]:
        """Blocks of `rows` [groups, r], with the best columns of each, in every number of columns."""
        sums = self._sums[matrix.role, width][split].sum(1).numpy()
        found = grouping.best_columns(sums, _column_counts(matrix.shape[1], len(split)))
        return [matrix.part(Blocks(rows, cols, kept)) for cols, kept in found]


def best_channels(importance: Tensor, widths: Sequence[int]) -> dict[int, Tensor]:
    """By width, the rows of the best channels of each head, [heads, width]. importance: [heads, head_dim]."""
    heads, head_dim = importance.shape
    order = importance.argsort(dim=1, descending=True, stable=True)
    first = head_dim * torch.arange(heads).unsqueeze(1)
    return {width: first + order[:, :width].sort(dim=1).values for width in widths}


def _column_counts(size: int, groups: int) -> list[int]:
    widths = COLUMNS if groups == 1 else COLUMNS[1:]
    return sorted({rounded(width, size) for width in widths})


def _variants(matrix: Matrix, rows: Tensor, cols: Tensor, passes: int, counts: tuple[int, ...] = COUNTS) -> list[Part]:
    """A matrix restricted to `rows` and `cols`, in several numbers of groups and columns."""
    inside = matrix.values
    if len(rows) < matrix.shape[0]:
        inside = inside.index_select(0, rows)
    if len(cols) < matrix.shape[1]:
        inside = inside.index_select(1, cols)
    search = Shared(inside, passes)
    parts = []
    for groups in counts:
        if groups > 1 and len(rows) % (groups * MULTIPLE):
            continue
        for blocks in _searched(search, groups, _column_counts(len(cols), groups)):
            found = Blocks(rows[blocks.rows], cols[blocks.cols], blocks.kept)
            parts.append(matrix.part(found, available=len(cols)))
    return _front(parts)


def _searched(search: Shared, groups: int, counts: Sequence[int]) -> Iterable[Blocks]:
    """All rows in `groups` groups, for each number of columns; each search starts where the last one ended."""
    if groups == 1:
        rows = torch.arange(len(search.values)).unsqueeze(0)
        sums: NDArray[np.float64] = search.values.sum(0, keepdim=True).numpy()
        yield from (Blocks(rows, cols, kept) for cols, kept in grouping.best_columns(sums, counts))
        return
    start = None
    for columns in counts:
        blocks = search.search(groups, len(search.values) // groups, columns, start)
        start = blocks.rows
        yield blocks


def _front(parts: Iterable[Part]) -> list[Part]:
    return [option.recipe for option in pareto([Option(p.draft.cost, p.price, p.kept, p) for p in parts])]


def option_of(parts: Iterable[Part], extra_price: float = 0.0) -> Option[Recipe]:
    """All of these parts. extra_price: of what surrounds them."""
    parts = list(parts)
    return Option(
        sum(p.draft.cost for p in parts),
        sum(p.price for p in parts) + extra_price,
        sum(p.kept for p in parts),
        {p.role: p.draft for p in parts},
    )


def nothing_left(importances: Importances) -> Option[Recipe]:
    """The sublayer is dropped."""
    return Option(0, 0.0, 0.0, dropped({role: (m.shape[0], m.shape[1]) for role, m in importances.items()}))


def rounded(share: float, size: int) -> int:
    """So much of a size, in the steps that kernels like; the whole is the whole."""
    return size if share == 1 else min(size, max(MULTIPLE, int(share * size) // MULTIPLE * MULTIPLE))
