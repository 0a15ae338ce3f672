"""What waits for a model, and which of it makes the next batch. No threads, no clock, no models.

The next batch begins with the oldest entry of the flow that was served least (`admission.Turns`). Others join it,
nearest lengths first, while the batch stays within its budget of padded tokens and one adds less padding than each
entry's share of starting the batch: until then a larger batch is a cheaper one for all in it.

Two rules bound what an entry can lose by that. Of what came after the first entry, only what came within `overtake`
seconds, or within a third of the time that it waits in all, may join. And a flow may not get further ahead of the
flow whose turn it is than one batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from service.batching.admission import Turns

Item = TypeVar("Item")


@dataclass(eq=False, slots=True, weakref_slot=True)
class Entry(Generic[Item]):
    """One input. size: tokens; queued: seconds; flow: who asks; `waiting` turns False when it is taken or leaves."""

    item: Item
    size: int
    queued: float
    flow: Hashable = None
    waiting: bool = True


class WaitingRoom(Generic[Item]):
    """Entries by flow in order of arrival, and by length.

    budget: padded tokens of a batch (a larger entry still goes, alone). launch: tokens that take as
    long as starting a batch does. overtake: seconds.
    """

    def __init__(self, budget: int, launch: float, overtake: float) -> None:
        self.budget = budget
        self.launch = launch
        self.overtake = overtake
        self.tokens = 0
        self.count = 0
        self._turns = Turns()
        self._arrivals: dict[Hashable, _Line[Item]] = {}
        self._by_size: dict[int, dict[Hashable, _Line[Item]]] = {}

    def add(self, entry: Entry[Item]) -> None:
        """Last of its flow."""
        self._turns.come(entry.flow)
        self._arrivals.setdefault(entry.flow, OrderedDict())[entry] = None
        self._by_size.setdefault(entry.size, {}).setdefault(entry.flow, OrderedDict())[entry] = None
        self.tokens += entry.size
        self.count += 1

    def discard(self, entry: Entry[Item]) -> bool:
        """Take an entry out of line; False if it was not in it."""
        if not entry.waiting:
            return False
        entry.waiting = False
        self._turns.leave(entry.flow)
        self.tokens -= entry.size
        self.count -= 1
        _remove(self._arrivals, entry.flow, entry)
        lines = self._by_size[entry.size]
        _remove(lines, entry.flow, entry)
        if not lines:
            del self._by_size[entry.size]
        return True

    def first(self) -> Entry[Item] | None:
        """Whose turn it is: of the flows served least, the entry that came first."""
        best: Entry[Item] | None = None
        least = 0.0
        for flow, line in self._arrivals.items():
            entry, served = next(iter(line)), self._turns.served(flow)
            if best is None or (served, entry.queued) < (least, best.queued):
                best, least = entry, served
        return best

    def take(self, now: float) -> list[Entry[Item]]:
        """The next batch, out of line; empty when nobody waits."""
        head = self.first()
        if head is None:
            return []
        bounds = _Bounds(
            head.queued + max(self.overtake, (now - head.queued) / 3), self._turns.served(head.flow) + self.budget
        )
        batch = [head]
        width = head.size
        self._take(head)
        for size in sorted(self._by_size, key=lambda size: abs(size - head.size)):
            for line in list(self._by_size[size].values()):
                for entry in list(islice(line, self.budget // size + 1)):
                    if self._unfit(entry, len(batch), width, bounds):
                        break
                    self._take(entry)
                    batch.append(entry)
                    width = max(width, size)
            if width * (len(batch) + 1) > self.budget:
                break
        return batch

    def _take(self, entry: Entry[Item]) -> None:
        self._turns.serve(entry.flow, entry.size)
        self.discard(entry)

    def _unfit(self, entry: Entry[Item], count: int, width: int, bounds: _Bounds) -> bool:
        """Whether an entry may not join `count` others that are `width` tokens wide."""
        wider = max(width, entry.size)
        padding = wider * (count + 1) - width * count - entry.size
        return (
            padding > self._spare(count)
            or wider * (count + 1) > self.budget
            or entry.queued > bounds.latest
            or self._turns.served(entry.flow) + entry.size > bounds.furthest
        )

    def _spare(self, count: int) -> float:
        """Tokens of padding that an entry may add to a batch of `count` others: their share of starting it."""
        return self.launch / count


_Line = OrderedDict[Entry[Item], None]  # a set that keeps its order


def _remove(lines: dict[Hashable, _Line[Item]], flow: Hashable, entry: Entry[Item]) -> None:
    line = lines[flow]
    del line[entry]
    if not line:
        del lines[flow]


class _Bounds(NamedTuple):
    """Of what may join a batch: how late it came, and how much its flow was served."""

    latest: float
    furthest: float
