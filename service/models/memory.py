"""Memory that a model that is gone leaves with the C library."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Free what only cycles hold, and return it to the system: glibc keeps it otherwise. Other C libraries do not."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
