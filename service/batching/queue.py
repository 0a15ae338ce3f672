"""The queue of one model: what is admitted, which inputs run next, and how long work takes by what was seen.

Pure: no clock, no threads, no models. The caller says what time it is, in seconds from any fixed instant, and calls
from one thread at a time. `batcher.py` runs models with it, and `service.planning` simulates it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.batching.admission import Backlog, too_long
from service.batching.waiting import Entry, Waiting
from service.errors import DeadlineExceeded, Overloaded, Unavailable

Item = TypeVar("Item")
_SETTLING = 0.1
_BRIEF = 0.01  # seconds that a lone request may keep the event loop from everything else
_DENSEST = 0.25  # tokens that a byte is taken for at most: windows that overlap make many more of it
_UNCERTAIN = 1.5  # times that an estimate must pass the time given before a request is told that it never can be done
_SLICE = 0.25  # of the promised wait, that one batch may take
_LEAST = 8  # tokens: what a batch costs beside its run, however quick that is
_INSTANT = 1e-9  # seconds


@dataclass(frozen=True)
class Cost:
    """Seconds that a batch takes: `fixed` for being run, and `per_token` for each padded token."""

    fixed: float
    per_token: float

    @classmethod
    def of(cls, short: int, quick: float, long: int, slow: float) -> Cost:
        """From one input of `short` tokens that took `quick` seconds, and one of `long` tokens that took `slow`."""
        per_token = max((slow - quick) / (long - short), _INSTANT)
        return cls(max(quick - short * per_token, _LEAST * per_token), per_token)

    @property
    def launch(self) -> float:
        """Tokens that take as long as starting a batch does."""
        return self.fixed / self.per_token


@dataclass(frozen=True)
class Limits:
    """batch_tokens: tokens of one batch, padding included. queue_tokens and queue_seconds: the most that may be ahead
    of a request, in tokens and in estimated seconds (`admission`). overtake: an input may always join the batch of an
    older one that came at most this many seconds before it."""

    batch_tokens: int
    queue_tokens: int
    queue_seconds: float
    overtake: float

    def sliced(self, cost: Cost) -> Limits:
        """The same with batches that take at most a quarter of `queue_seconds`: others get their turn between two."""
        most = int(_SLICE * self.queue_seconds / cost.per_token)
        return Limits(max(1, min(self.batch_tokens, most)), self.queue_tokens, self.queue_seconds, self.overtake)


@dataclass(eq=False, slots=True)
class Announced:
    """Work that was admitted by estimate, before its inputs are ready: it counts until it is withdrawn."""

    flow: Hashable
    tokens: float


class Queue(Generic[Item]):
    """Admitted work, and the choice of the next batch."""

    def __init__(self, limits: Limits, cost: Cost) -> None:
        self.limits = limits
        self.closed = False  # whether everything is refused with Unavailable
        self.seconds_per_token = cost.per_token + cost.fixed / limits.batch_tokens  # learned from batches
        self._fixed = cost.fixed
        self._waiting: Waiting[Item] = Waiting(limits.batch_tokens, cost.launch, limits.overtake)
        self._backlog = Backlog()  # tokens
        self._busy_until = 0.0
        self._usual = 0.0  # tokens of an admitted request, and of each byte of its body
        self._density = 0.0

    @property
    def tokens(self) -> int:
        """Tokens that wait."""
        return self._waiting.tokens

    @property
    def count(self) -> int:
        """Inputs that wait."""
        return self._waiting.count

    def brief(self, tokens: int) -> bool:
        """Whether so many tokens run so quickly that an event loop may be kept for them."""
        return self._fixed + tokens * self.seconds_per_token < _BRIEF

    def check(self, flow: Hashable, body: int, now: float) -> None:
        """Raises Overloaded when a request would be refused now.

        The request is assumed to be as large as admitted requests usually are, or smaller if its `body` has few bytes.
        body: 0 when its bytes are not known yet, so that a small request is not refused for the size of others.
        The usual size is not learned from requests that are refused here.
        """
        tokens = min(self._usual, body * min(self._density, _DENSEST))
        self._admit_or_refuse(flow, tokens, float("inf"), now)

    def announce(self, flow: Hashable, tokens: float, deadline: float, now: float, before: float = 0.0) -> Announced:
        """Admit work by estimate before its inputs are made, which waits `before` seconds for others.

        It counts until `withdraw`. Raises what `admit` raises when it is refused.
        """
        self._admit_or_refuse(flow, tokens, deadline, now, before)
        self._backlog.add(flow, tokens)
        return Announced(flow, tokens)

    def withdraw(self, announced: Announced) -> None:
        """Stop counting it: its inputs are ready now, or will not come. A second call has no effect."""
        self._backlog.done(announced.flow, announced.tokens)
        announced.tokens = 0.0

    def admit(self, entries: Sequence[Entry[Item]], now: float, body: int = 0) -> None:
        """Queue all inputs of a request, or none. They have the same flow and the same deadline.

        body: bytes that they came in; 0 when that is not known. Raises Overloaded, DeadlineExceeded or Unavailable.
        """
        flow, tokens = entries[0].flow, sum([entry.size for entry in entries])
        self._admit_or_refuse(flow, tokens, entries[0].deadline, now)
        self._usual += (_SETTLING if self._usual else 1.0) * (tokens - self._usual)
        if body:
            self._density += (_SETTLING if self._density else 1.0) * (tokens / body - self._density)
        self._backlog.add(flow, tokens)
        self._waiting.add(*entries)

    def take(self, now: float) -> tuple[list[Entry[Item]], list[Entry[Item]]]:
        """Remove the next batch and return it, empty when nothing waits; and what was removed as it is too late."""
        late: list[Entry[Item]] = []
        while True:
            batch = self._waiting.take(now)
            alive = [entry for entry in batch if entry.deadline > now]
            if len(alive) < len(batch):
                late += [entry for entry in batch if entry.deadline <= now]
            if alive or not batch:
                break
        self._busy_until = now + sum([entry.size for entry in alive]) * self.seconds_per_token
        return alive, late

    def leave(self, flow: Hashable, tokens: int) -> None:
        """A request that was admitted with so many tokens has ended: its work counts no more."""
        self._backlog.done(flow, tokens)

    def discard(self, entry: Entry[Item]) -> bool:
        """Remove an input that nobody waits for; False if it does not wait."""
        return self._waiting.discard(entry)

    def learn(self, tokens: int, seconds: float) -> None:
        """A batch of so many tokens took so long. Small batches say little about a token and are passed over."""
        if 4 * tokens >= self.limits.batch_tokens:
            self.seconds_per_token += _SETTLING * (seconds / tokens - self.seconds_per_token)

    def _admit_or_refuse(self, flow: Hashable, tokens: float, deadline: float, now: float, before: float = 0.0) -> None:
        """Apply the rule of `admission`."""
        if self.closed:
            raise Unavailable("the model is shutting down")
        if deadline <= now:
            raise DeadlineExceeded("the request's deadline passed before it was queued")
        ahead = self._backlog.ahead(flow, tokens)
        running = max(0.0, self._busy_until - now)  # seconds until the batch that runs has run, by estimate
        wait = before + running + ahead * self.seconds_per_token
        full = ahead + tokens > self.limits.queue_tokens
        if (self._waiting.count or before) and (
            full or too_long(wait, self.limits.overtake, self.limits.queue_seconds)
        ):
            raise Overloaded(f"{round(self._backlog.total)} tokens are waiting already", wait)
        if now + wait > deadline:
            raise Overloaded("the estimated wait is longer than the request's deadline allows", wait)
        if _UNCERTAIN * (deadline - now) < tokens * self.seconds_per_token:
            raise DeadlineExceeded("the inputs take longer than the request's deadline allows; send fewer at a time")
