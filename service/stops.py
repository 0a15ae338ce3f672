"""The signals that stop a serving process, from its first moment on."""

from __future__ import annotations

import os
import signal


def signals() -> list[signal.Signals]:
    """SIGTERM, SIGINT, and SIGHUP unless whoever started the process has it ignored, as nohup does."""
    hung_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hung_up]


def leave_at_once() -> None:
    """End the process with 0 at such a signal, until somebody else handles it.

    The first process of a container has no default action: what it does not handle has no effect.
    """
    for number in signals():
        signal.signal(number, lambda *_: os._exit(0))
