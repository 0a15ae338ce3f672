"""The measured tables of the documentation, written from benchmarks/results.

    python -m benchmarks.tables

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; a test holds the pages against the results. Each
public function of the modules here, such as `speed.speed`, makes the table of its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from benchmarks.tables import accuracy, serving, speed, trust
from benchmarks.tables.made import ROOT

_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _of(module: ModuleType) -> dict[str, Callable[[], str]]:
    """The tables of a module."""
    return {
        name: made
        for name, made in vars(module).items()
        if callable(made) and getattr(made, "__module__", "") == module.__name__ and not name.startswith("_")
    }


TABLES: dict[str, Callable[[], str]] = {
    name: made for module in (speed, accuracy, serving, trust) for name, made in _of(module).items()
}


def filled(page: str) -> str:
    """A page with every table as the results have it now."""
    return _PLACE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", page)


def pages() -> list[Path]:
    """Those that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
