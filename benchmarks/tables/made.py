"""What all tables are made with: results, rows of markdown, shares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SETS = {"sst2": "SST-2 dev", "qa": "SQuAD 1.1 dev"}


def results(name: str) -> dict[str, Any]:
    """What a benchmark wrote."""
    return dict(json.loads((ROOT / "benchmarks/results" / f"{name}.json").read_text("utf-8")))


def measured_by(name: str) -> dict[str, Any] | None:
    """What a benchmark wrote, if it has run."""
    return results(name) if (ROOT / "benchmarks/results" / f"{name}.json").exists() else None


def absent(name: str) -> str:
    """In place of a table without results."""
    return f"Not measured yet: run `python -m benchmarks.{name}`.\n"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("|" + "".join(f" {cell} |" if cell != "" else " |" for cell in line) + "\n" for line in lines)


def share_of(keep: str) -> str:
    """A share as percent: 0.25 is 25%."""
    return f"{float(keep):.0%}"


def interval(lost: Mapping[str, float]) -> str:
    """Points that are lost, with their 95% interval."""
    return f"{lost['lost']:+z.2f} ({lost['from']:+z.2f} to {lost['to']:+z.2f})"
