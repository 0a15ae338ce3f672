"""The latency of one request by stage, from instants that are recorded once.

Body, header, histograms and v2 statistics are all made from the same `Stamps`.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import pairwise

clock = time.perf_counter
STAGES = ("tokenize", "queue", "infer", "postprocess")


@dataclass
class Stamps:
    """Instants of one request in seconds of `clock`; each is set once, when its stage ends.

    `started` is when its first batch began to run, `finished` when its last one ended.
    """

    received: float = field(default_factory=clock)
    tokenized: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    done: float = 0.0

    def spans(self) -> list[tuple[float, float]]:
        """Beginning and end of tokenize, queue, infer and postprocess."""
        return list(pairwise((self.received, self.tokenized, self.started, self.finished, self.done)))

    def stages(self) -> list[float]:
        """Seconds of tokenize, queue, infer and postprocess."""
        return [end - begin for begin, end in self.spans()]

    @property
    def total(self) -> float:
        """Seconds from the head having been read to the results being there, not yet rendered and sent."""
        return self.done - self.received


@dataclass(frozen=True)
class Timings:
    """Milliseconds by stage."""

    tokenize: float
    queue: float
    infer: float
    postprocess: float
    total: float

    def header(self) -> str:
        """As the Server-Timing header writes it."""
        return (
            f"tok;dur={self.tokenize}, queue;dur={self.queue}, infer;dur={self.infer}, "
            f"post;dur={self.postprocess}, total;dur={self.total}"
        )


@dataclass
class Call:
    """What is known of one request, from its head being read to its log line.

    owner: name of the key. flow: with whom it takes its turns, a key's owner or a connection. body: what was sent,
    until it is answered; held_bytes: how much of it is in memory. deadline: an instant of `clock`. inputs
    and all below it are set by the engine once they are known; `windows` counts the inputs that the model gets, of
    which a long text or context becomes several; `truncated` counts inputs that were cut, `marks` are those of its
    batches. fault: whether it failed by a fault of the service, with whatever status. hurried: whether it failed
    because the client gave it less time than the service does.
    """

    id: str
    owner: str = ""
    flow: Hashable = None
    body: bytes = field(default=b"", repr=False)
    held_bytes: int = 0
    dialect: str = ""
    fault: bool = False
    hurried: bool = False
    stamps: Stamps = field(default_factory=Stamps)
    deadline: float = float("inf")
    model: str = ""
    version: str = ""
    device: str = ""
    inputs: int = 0
    characters: int = 0
    windows: int = 0
    tokens: int = 0
    truncated: int = 0
    batch_size: int = 0
    batch_tokens: int = 0
    marks: list[object] = field(default_factory=list)
    _timings: Timings | None = field(default=None, init=False, repr=False)

    def give(self, seconds: float) -> None:
        """Answer within `seconds` of arrival; the earlier of two deadlines holds."""
        self.deadline = min(self.deadline, self.stamps.received + seconds)

    def failed(self, status: int) -> bool:
        """Whether the service failed on it, which was answered with this status."""
        return (self.fault or status >= 500) and not self.hurried

    @property
    def answered(self) -> bool:
        """Whether every stage was passed."""
        return self.stamps.done > 0

    def timings(self) -> Timings:
        """The stages of an answered call."""
        if self._timings is None:
            self._timings = Timings(*[round(1e3 * s, 3) for s in (*self.stamps.stages(), self.stamps.total)])
        return self._timings
