"""Long work in steps: a generator that yields how much each step read, and returns its result.

The caller can run other work between two steps, or stop.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Step = int  # characters that a step read, or that are read in the time that it took
Work = Generator[Step, None, Result]


def all_of(work: Work[Result]) -> Result:
    """Run every step here and now."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: Result = stop.value
            return result
