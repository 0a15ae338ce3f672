"""The latency of one request, stage by stage, from instants that were stamped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise

clock = time.perf_counter


@dataclass
class Stamps:
    """Instants of one request in seconds; each is set once, when its stage ends.

    `started` is when its first batch began to run, `finished` when its last one ended.
    """

    received: float = field(default_factory=clock)
    tokenized: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    done: float = 0.0


@dataclass(frozen=True)
class Timings:
    """Milliseconds by stage."""

    tokenize: float
    queue: float
    infer: float
    postprocess: float
    total: float

    @classmethod
    def of(cls, stamps: Stamps) -> Timings:
        """Differences of neighbouring instants."""
        points = (stamps.received, stamps.tokenized, stamps.started, stamps.finished, stamps.done)
        return cls(*(round(1e3 * (b - a), 3) for a, b in (*pairwise(points), (stamps.received, stamps.done))))

    def header(self) -> str:
        """As the Server-Timing header writes it."""
        return (
            f"tok;dur={self.tokenize}, queue;dur={self.queue}, infer;dur={self.infer}, "
            f"post;dur={self.postprocess}, total;dur={self.total}"
        )
