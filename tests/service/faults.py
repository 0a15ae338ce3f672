"""What goes wrong on purpose: a runtime that stands still or fails, and a panic."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens


class Panic(BaseException):
    """What a library in Rust raises when it panics: no `Exception`."""


class Held:
    """A runtime that waits while it is held, fails while it is broken, and remembers its batches."""

    device = "cpu"
    threads = 1

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.broken = False
        self.bad = 0  # tokens of an input that it does not take
        self.scarce = False
        self.batches: list[int] = []

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """Logits that tell the length of each input."""
        self.batches.append(len(batch))
        assert self.go.wait(20)
        if self.broken:
            raise RuntimeError("boom")
        if self.scarce and len(batch) > 1:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 7")
        if any(len(tokens) == self.bad for tokens in batch):
            raise RuntimeError("indices element out of data bounds")
        return [np.array([len(tokens), 0], np.float32) for tokens in batch]

    def stop(self) -> None:
        """It stops when it is let go."""

    def close(self) -> None:
        """Nothing to free."""


class Full:
    """A system that has no room for a thread while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        start = threading.Thread.start

        def tried(thread: threading.Thread) -> None:
            if self.full:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", tried)
