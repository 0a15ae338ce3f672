"""Admission and fair turns. Pure: no clock, no threads, no models.

A *flow* is the owner of a key, or a connection where there are no keys. A flow's *backlog* is its admitted work that
is not done, in any unit. Flows take turns: work is done for the flow that was served least.

**The wait.** A request of `amount` from flow f waits for f's own backlog b, and for other flows. While b + amount is
done for f, fair turns give every other flow g at most as much: min(backlog of g, b + amount). So the request waits for

    ahead = b + sum over g of min(backlog of g, b + amount)

Work counts until its request is answered, not only until it runs. The reason is that requests that come later take
turns too, and in a queue that stays full each answer is followed by another request of the same size.

**Overtaking.** Inputs of similar length are batched, so some that came later run before an older one. `waiting.py` lets
an input overtake only if it came within `overtake` seconds after the older one, or within a third of the time that
the older one waits. So a wait W that would be w without overtaking is at most w + W/3, which is w + w/2, or
w + overtake. With nothing ahead there is no batch that another input could join.

**The rule.** A request is refused when `MARGIN` times that wait is more than the bound. Its own work does not count
towards the wait: a large request runs in slices, and other flows get their turn between two slices.

**The guarantee.** If there are N flows, a flow with at most bound / (1.5 MARGIN N) of queued work waits for at most N
times that, whatever the others have, and is admitted. So nobody who asks for less than its share is refused because
of others. `tests/service/test_admission.py` tests this. It holds while no batch runs. `queue.py` adds the batch that
runs, up to a quarter of the bound, so beside one a share is bound / (3.1 N); `tests/service/test_queue.py` tests that.
Both hold where overtake is at most 0.29 of the bound.
"""

from __future__ import annotations

from collections.abc import Hashable

MARGIN = 1.15  # for what an estimate leaves out: a busy event loop, sending
_NOTHING = 1e-9
_MANY = 256  # flows


class Backlog:
    """Admitted work of requests that are not answered, by flow, in one unit. Not thread-safe."""

    def __init__(self) -> None:
        self.total = 0.0
        self._of: dict[Hashable, float] = {}

    def add(self, flow: Hashable, amount: float) -> None:
        """Add admitted work of a flow."""
        self.total += amount
        self._of[flow] = self._of.get(flow, 0.0) + amount

    def done(self, flow: Hashable, amount: float) -> None:
        """Remove work of a flow that is done."""
        left = self._of.get(flow, 0.0) - amount
        self.total -= amount
        if left > _NOTHING:
            self._of[flow] = left
        else:
            self._of.pop(flow, None)
            if not self._of:
                self.total = 0.0  # what rounding left

    def of(self, flow: Hashable) -> float:
        """The backlog of a flow."""
        return self._of.get(flow, 0.0)

    def ahead(self, flow: Hashable, amount: float) -> float:
        """Work that is done before `amount` more of this flow is done, without that amount."""
        own = self._of.get(flow, 0.0)
        if own + amount >= self.total:  # nobody has more
            return self.total
        reach = own + amount
        if len(self._of) > _MANY:  # nobody has more than that ahead, and it is known at once
            return min(self.total, own + (len(self._of) - 1) * reach)
        return own + sum(min(theirs, reach) for other, theirs in self._of.items() if other != flow)


class Turns:
    """Fair turns among flows: next is the one that was served least.

    A flow that comes, or comes back, starts at the average of the flows that are here, so that no flow gains turns by
    staying away. Not thread-safe.
    """

    def __init__(self) -> None:
        self._level = 0.0  # what a flow was served that was here all the time
        self._served: dict[Hashable, float] = {}
        self._here: dict[Hashable, int] = {}

    def come(self, flow: Hashable, more: int = 1) -> None:
        """`more` further pieces of work of this flow wait."""
        count = self._here.get(flow, 0)
        self._here[flow] = count + more
        if not count:
            self._served[flow] = max(self._served.get(flow, 0.0), self._level)

    def leave(self, flow: Hashable) -> None:
        """One piece of work no longer waits: it was taken or removed."""
        count = self._here[flow] - 1
        if count:
            self._here[flow] = count
            return
        del self._here[flow]
        if len(self._served) > 2 * len(self._here) + 64:
            kept = {name: value for name, value in self._served.items() if name in self._here or value > self._level}
            self._served = kept

    def serve(self, flow: Hashable, amount: float) -> None:
        """Work of size `amount` was done for the flow. Called while the flow has waiting work."""
        self._served[flow] = self._served.get(flow, self._level) + amount
        self._level += amount / max(1, len(self._here))

    def served(self, flow: Hashable) -> float:
        """How much the flow was served, on the scale on which flows are compared."""
        return self._served.get(flow, self._level)


def promised(wait: float, overtake: float) -> float:
    """The longest that a wait of `wait` seconds can become through overtaking. See the module."""
    return wait + max(wait / 2, min(wait, overtake))


def too_long(wait: float, overtake: float, bound: float) -> bool:
    """Whether a request that waits for `wait` seconds of work is refused under a bound of `bound` seconds."""
    return MARGIN * promised(wait, overtake) > bound
