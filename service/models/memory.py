"""Gives memory of a freed model back to the system, which the C library would keep."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Free what only cycles hold, and return it to the system: glibc keeps it otherwise. Other C libraries do not."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
