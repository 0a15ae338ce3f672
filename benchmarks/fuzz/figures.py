"""One file of figures, of which each script writes its own part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import script
from pgb_core.machine import facts

RESULTS = Path("benchmarks/results/fuzz.json")


def write(part: str, figures: dict[str, Any], path: Path = RESULTS) -> None:
    """Set one part, and leave the others as they are."""
    found = script.read(path, {})
    found[part] = {"machine": facts(), **figures}
    script.write(path, found)


def sorted_counts(counts: dict[Any, int]) -> dict[str, int]:
    """By key."""
    return {str(key): counts[key] for key in sorted(counts, key=str)}
