"""Corrects a choice of options by measured losses: two sublayers exchange weights, and what lowers the loss stays.

The knapsack adds up what single weights are worth, as if they did not depend on each other. Here the loss of the whole
model decides. One set of rows proposes exchanges: the losses of single steps, one sublayer a little smaller or a little
larger, are measured there, and the pair whose sum promises most is tried. Another set of rows has to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pgb_core.search.budget import Option

Recipe = TypeVar("Recipe")
Given = TypeVar("Given", contravariant=True)
STEPS = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125)  # of an exchange, in shares of what a sublayer costs in the mean
MISSES = 4  # pairs tried in turn to no use, after which the step becomes smaller
SLACK = 0.005  # share of the budget that an exchange may leave unused beside what was unused before


class Judge(Protocol[Given]):
    """Measures the loss of a choice of options on some rows."""

    def loss(self, chosen: Sequence[Given]) -> float:
        """Of the whole model; lower is better."""

    def settle(self) -> None:
        """The choice that was measured last is the one that others will differ from."""


@dataclass(frozen=True)
class Corrected(Generic[Recipe]):
    """What came of it. before, after: losses on the rows that had to agree; tried: exchanges; evaluations: losses that
    were measured.
    """

    chosen: Sequence[Option[Recipe]]
    before: float
    after: float
    kept: int
    tried: int
    evaluations: int


class _ExhaustedError(Exception):
    """No more evaluations are allowed."""


def corrected(
    menus: Sequence[Sequence[Option[Recipe]]],
    chosen: Sequence[Option[Recipe]],
    budget: float,
    proposing: Judge[Option[Recipe]],
    agreeing: Judge[Option[Recipe]],
    evaluations: int,
    enough: Callable[[], bool] = lambda: False,
    progress: Callable[[], None] = lambda: None,
) -> Corrected[Recipe]:
    """A choice of lower loss, on the rows that propose and on those that agree; the same one where none is found.

    menus: with costs that the budget counts. The result costs at most `budget`, and by its prices runs no longer than
    what was chosen at first. evaluations: most losses that are measured, 2 or more. enough: asked before each of them
    whether to stop. progress: told of each. The same arguments give the same result.
    """
    search = _Search(menus, list(chosen), budget, proposing, agreeing, evaluations, enough, progress)
    return search.run()


class _Search(Generic[Recipe]):
    def __init__(
        self,
        menus: Sequence[Sequence[Option[Recipe]]],
        chosen: list[Option[Recipe]],
        budget: float,
        proposing: Judge[Option[Recipe]],
        agreeing: Judge[Option[Recipe]],
        evaluations: int,
        enough: Callable[[], bool],
        progress: Callable[[], None],
    ) -> None:
        self._menus = menus
        self._chosen = chosen
        self._most = budget
        self._least = _cost(chosen) - SLACK * budget
        self._price = sum(option.price for option in chosen)
        self._proposing = proposing
        self._agreeing = agreeing
        self._left = evaluations
        self._enough = enough
        self._progress = progress
        self._done = self._tried = self._kept = 0
        self._loss = self._agreed = 0.0

    def run(self) -> Corrected[Recipe]:
        self._loss, self._agreed = self._measured(self._proposing), self._measured(self._agreeing)
        self._settle()
        before = self._agreed
        try:
            for step in STEPS:
                self._exchange(step * _cost(self._chosen) / len(self._chosen))
        except _ExhaustedError:
            pass
        return Corrected(self._chosen, before, self._agreed, self._kept, self._tried, self._done)

    def _exchange(self, size: float) -> None:
        """Exchange about so much at a time, until nothing is gained by it."""
        places = range(len(self._menus))
        less = {n: self._single(n, -size) for n in places}
        more = {n: self._single(n, size) for n in places}
        refused: set[tuple[int, int]] = set()
        misses = 0
        while misses < MISSES:
            pair = self._promising(less, more, refused)
            if pair is None:
                return
            tried = self._pair(*pair, size)
            if tried is None or not self._accepted(tried):
                refused.add(pair)
                misses += tried is not None
                continue
            misses, refused = 0, set()
            for n in pair:
                less[n], more[n] = self._single(n, -size), self._single(n, size)

    def _promising(
        self, less: dict[int, float | None], more: dict[int, float | None], refused: set[tuple[int, int]]
    ) -> tuple[int, int] | None:
        """Who should give and who should take, by the sum of both changes of the loss; None where none is below 0."""
        sums = [
            (down + up, giver, taker)
            for giver, down in less.items()
            for taker, up in more.items()
            if down is not None and up is not None and giver != taker and (giver, taker) not in refused
        ]
        best, giver, taker = min(sums, default=(0.0, 0, 0))
        return (giver, taker) if best < 0 else None

    def _accepted(self, tried: list[Option[Recipe]]) -> bool:
        """Measure an exchange, and keep it if both sets of rows lose less."""
        self._tried += 1
        loss = self._measured(self._proposing, tried)
        if loss >= self._loss:
            return False
        agreed = self._measured(self._agreeing, tried)
        if agreed >= self._agreed:
            return False
        self._chosen, self._loss, self._agreed = tried, loss, agreed
        self._kept += 1
        self._settle()
        return True

    def _pair(self, giver: int, taker: int, size: float) -> list[Option[Recipe]] | None:
        """The choice with one sublayer smaller, and another as large as that allows; None where it cannot be."""
        smaller = self._step(giver, -size)
        if smaller is None:
            return None
        tried = list(self._chosen)
        tried[giver] = smaller
        cost, price = self._most - _cost(tried), self._price - sum(option.price for option in tried)
        now = tried[taker]
        larger = [o for o in self._menus[taker] if o.cost - now.cost <= cost and o.price - now.price <= price]
        tried[taker] = max(larger, key=lambda o: (o.kept, -o.price), default=now)
        return tried if tried[taker].kept > now.kept and _cost(tried) >= self._least else None

    def _single(self, place: int, size: float) -> float | None:
        """By how much the loss rises when one sublayer grows by about `size`; None where it cannot."""
        option = self._step(place, size)
        if option is None:
            return None
        return self._measured(self._proposing, [*self._chosen[:place], option, *self._chosen[place + 1 :]]) - self._loss

    def _step(self, place: int, size: float) -> Option[Recipe] | None:
        """The option that keeps most of those that cost `size` more, give or take a half; size may be below 0."""
        now = self._chosen[place]
        near = [o for o in self._menus[place] if abs(o.cost - now.cost - size) <= abs(size) / 2]
        return max(near, key=lambda o: (o.kept, -o.price), default=None)

    def _measured(self, judge: Judge[Option[Recipe]], chosen: Sequence[Option[Recipe]] | None = None) -> float:
        if not self._left or self._enough():
            raise _ExhaustedError
        self._left -= 1
        self._done += 1
        found = judge.loss(self._chosen if chosen is None else chosen)
        self._progress()
        return found

    def _settle(self) -> None:
        self._proposing.settle()
        self._agreeing.settle()


def _cost(chosen: Sequence[Option[Recipe]]) -> float:
    return sum(option.cost for option in chosen)
