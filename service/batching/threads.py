"""Threads that work for requests, and end with the process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from service.errors import Unavailable


def started(target: Callable[[], None], name: str) -> threading.Thread:
    """A new thread that runs. Raises Unavailable where the system has no room for one: who asks next tries again."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise Unavailable("the system lets the service start no thread; ask again") from error
    return thread
