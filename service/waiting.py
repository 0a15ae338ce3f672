"""What waits for a model, and which of it makes the next batch. No threads, no clock, no models.

The oldest entry is in every batch, so nothing starves. Others join it, nearest lengths first, while
the batch stays within its budget of padded tokens and one adds less padding than each entry's share of
starting the batch: until then a larger batch is a cheaper one for all in it. Of what came after
the oldest, only what came within `overtake` seconds, or within half the time that the oldest has
waited, may join: a long line gives batches of like lengths to choose from, and who waits in it is
overtaken by the first half of it at most.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(eq=False, slots=True)
class Entry(Generic[Item]):
    """One input. size: tokens; queued: seconds; `waiting` turns False when it is taken or leaves."""

    item: Item
    size: int
    queued: float
    waiting: bool = True


class WaitingRoom(Generic[Item]):
    """Entries in order of arrival, and by length.

    budget: padded tokens of a batch (a larger entry still goes, alone). launch: tokens that take as
    long as starting a batch does. overtake: seconds.
    """

    def __init__(self, budget: int, launch: float, overtake: float) -> None:
        self.budget = budget
        self.launch = launch
        self.overtake = overtake
        self.tokens = 0
        self.count = 0
        self._arrivals: deque[Entry[Item]] = deque()
        self._by_size: dict[int, deque[Entry[Item]]] = {}

    def add(self, entry: Entry[Item]) -> None:
        """Last in line."""
        self._arrivals.append(entry)
        self._by_size.setdefault(entry.size, deque()).append(entry)
        self.tokens += entry.size
        self.count += 1

    def discard(self, entry: Entry[Item]) -> bool:
        """Take an entry out of line; False if it was not in it."""
        if not entry.waiting:
            return False
        entry.waiting = False
        self.tokens -= entry.size
        self.count -= 1
        return True

    def oldest(self) -> Entry[Item] | None:
        """First in line."""
        while self._arrivals and not self._arrivals[0].waiting:
            self._arrivals.popleft()
        return self._arrivals[0] if self._arrivals else None

    def take(self, now: float) -> list[Entry[Item]]:
        """The next batch, out of line; empty when nobody waits."""
        head = self.oldest()
        if head is None:
            return []
        self.discard(head)
        batch, width = [head], head.size
        latest = head.queued + max(self.overtake, (now - head.queued) / 2)
        for size in sorted(self._by_size, key=lambda size: abs(size - head.size)):
            line = self._by_size[size]
            while line and not (line[0].waiting and self._unfit(line[0], len(batch), width, latest)):
                entry = line.popleft()
                if self.discard(entry):
                    batch.append(entry)
                    width = max(width, size)
            if not line:
                del self._by_size[size]
            if width * (len(batch) + 1) > self.budget:
                break
        return batch

    def _unfit(self, entry: Entry[Item], count: int, width: int, latest: float) -> bool:
        """Whether an entry may not join `count` others that are `width` tokens wide."""
        wider = max(width, entry.size)
        padding = wider * (count + 1) - width * count - entry.size
        return padding > self._spare(count) or wider * (count + 1) > self.budget or entry.queued > latest

    def _spare(self, count: int) -> float:
        """Tokens of padding that an entry may add to a batch of `count` others: their share of starting it."""
        return self.launch / count
