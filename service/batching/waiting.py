"""The queue of one model, and the choice of its next batch. No threads, no clock, no models.

The next batch begins with the oldest entry of the flow that was served least (`admission.Turns`). Other entries join
it, nearest lengths first, while the batch stays within its budget of padded tokens, and while an entry adds less
padding than each entry's share of the cost of starting a batch. Up to that point a larger batch is cheaper for all.

Two rules limit how much an entry can lose by this. An entry that came after the first one may join only if it came
within `overtake` seconds after it, or within a third of the time that the first one has waited. And no flow may get
more than one batch ahead of the flow whose turn it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from service.batching.admission import Turns

Item = TypeVar("Item")


@dataclass(eq=False, slots=True, weakref_slot=True)
class Entry(Generic[Item]):
    """One input. size: tokens; queued, deadline: seconds; flow: who asks; `waiting` turns False when it is taken or
    leaves."""

    item: Item
    size: int
    queued: float
    flow: Hashable = None
    deadline: float = float("inf")
    waiting: bool = True


class Waiting(Generic[Item]):
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
        self._arrivals: dict[Hashable, _Ordered[Item]] = {}
        self._by_size: dict[int, dict[Hashable, _Ordered[Item]]] = {}

    def add(self, *entries: Entry[Item]) -> None:
        """Queue entries behind the others of their flow. There is at least one, and all have the same flow."""
        flow = entries[0].flow
        self._turns.come(flow, len(entries))
        own = self._arrivals.get(flow)
        if own is None:
            own = self._arrivals[flow] = OrderedDict()
        for entry in entries:
            own[entry] = None
            flows = self._by_size.get(entry.size)
            if flows is None:
                flows = self._by_size[entry.size] = {}
            alike = flows.get(flow)
            if alike is None:
                alike = flows[flow] = OrderedDict()
            alike[entry] = None
            self.tokens += entry.size
        self.count += len(entries)

    def discard(self, entry: Entry[Item]) -> bool:
        """Remove an entry from the queue; False if it was not in it."""
        if not entry.waiting:
            return False
        entry.waiting = False
        self._turns.leave(entry.flow)
        self.tokens -= entry.size
        self.count -= 1
        _remove(self._arrivals, entry.flow, entry)
        flows = self._by_size[entry.size]
        _remove(flows, entry.flow, entry)
        if not flows:
            del self._by_size[entry.size]
        return True

    def first(self) -> Entry[Item] | None:
        """The entry whose turn it is: the oldest of the flow that was served least."""
        best: Entry[Item] | None = None
        least = 0.0
        for flow, entries in self._arrivals.items():
            entry, served = next(iter(entries)), self._turns.served(flow)
            if best is None or (served, entry.queued) < (least, best.queued):
                best, least = entry, served
        return best

    def take(self, now: float) -> list[Entry[Item]]:
        """Remove the next batch from the queue and return it; empty when nothing waits."""
        head = self.first()
        if head is None:
            return []
        latest = head.queued + max(self.overtake, (now - head.queued) / 3)
        furthest = self._turns.served(head.flow) + self.budget  # how much the flow of what joins was served
        batch = [head]
        width = head.size
        self._take(head)
        for size in sorted(self._by_size, key=lambda size: abs(size - head.size)):
            for flow, entries in list(self._by_size[size].items()):
                if not self._fits(size, width, len(batch)):  # nor would it for the other flows, which may be many
                    break
                for entry in list(islice(entries, self.budget // max(1, size) + 1)):
                    if (
                        entry.queued > latest
                        or self._turns.served(flow) + size > furthest
                        or not self._fits(size, width, len(batch))
                    ):
                        break
                    self._take(entry)
                    batch.append(entry)
                    width = max(width, size)
            if width * (len(batch) + 1) > self.budget:
                break
        return batch

    def _fits(self, size: int, width: int, count: int) -> bool:
        """Whether one more entry may join `count` that are at most `width` long, and costs no more padding than its
        share of starting the batch."""
        wider = max(width, size)
        padding = wider * (count + 1) - width * count - size
        return padding <= self.launch / count and wider * (count + 1) <= self.budget

    def _take(self, entry: Entry[Item]) -> None:
        self._turns.serve(entry.flow, entry.size)
        self.discard(entry)


_Ordered = OrderedDict[Entry[Item], None]  # a set that keeps its order


def _remove(flows: dict[Hashable, _Ordered[Item]], flow: Hashable, entry: Entry[Item]) -> None:
    entries = flows[flow]
    del entries[entry]
    if not entries:
        del flows[flow]
