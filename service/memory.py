"""Memory that a model that is gone leaves with the C library."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return freed memory to the system. glibc keeps it otherwise; other libraries do not need to be asked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
