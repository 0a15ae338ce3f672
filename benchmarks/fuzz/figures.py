"""One file of figures, of which each script writes its own part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pgb_core.machine import facts

RESULTS = Path("benchmarks/results/fuzz.json")


def write(part: str, figures: dict[str, Any], path: Path = RESULTS) -> None:
    """Set one part, and leave the others as they are."""
    found = json.loads(path.read_text()) if path.exists() else {}
    found[part] = {"machine": facts(), **figures}
    path.write_text(json.dumps(found, indent=1) + "\n")


def sorted_counts(counts: dict[Any, int]) -> dict[str, int]:
    """By key."""
    return {str(key): counts[key] for key in sorted(counts, key=str)}
