"""`pgb compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pgb_core.commands.base import Command
from pgb_core.commands.flags import add_settings
from pgb_core.compare.config import CompareConfig

_NOTES = """
A point is one method at one size. Each point is an artifact that can be served. --minutes is about the time for one
point; the whole comparison takes that time for each method, size and seed. Finished points are kept: the same command
continues from them, and with more --methods or sizes it makes only the new points.
The budget of a point is --minutes, --epochs or --steps; give one of them at most.
docs/methods.md explains the methods, docs/glossary.md the terms.
"""


def add(p: argparse.ArgumentParser) -> None:
    """Flags of every setting."""
    p.add_argument("checkpoint", help=CompareConfig.model_fields["checkpoint"].description)
    add_settings(p, CompareConfig, [name for name in CompareConfig.model_fields if name != "checkpoint"])


def run(args: argparse.Namespace) -> int:
    """Compare, and print the table."""
    given = {k: v for k, v in vars(args).items() if k not in ("command", "run") and v is not None}
    settings = CompareConfig(**given)
    from rich.console import Console

    from pgb_core.compare import run as comparing
    from pgb_core.progress.bars import Bars

    with Bars(Console(stderr=True)) as bars:
        found = comparing.compare(settings, bars)
    print(comparing.table(found))
    print(f"{Path(settings.out) / comparing.REPORT}: the report with the picture")
    return 0


COMMAND = Command("compare methods and sizes under one training budget", add, run, _NOTES)
