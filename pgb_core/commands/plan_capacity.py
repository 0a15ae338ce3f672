"""`pgb plan-capacity`."""

from __future__ import annotations

import argparse

from pgb_core.commands.base import Command
from pgb_core.commands.serve import become


def add(p: argparse.ArgumentParser) -> None:
    """The planner parses its own flags."""


def run(args: argparse.Namespace) -> int:
    """Only named here: `main` gives all arguments to the planner."""
    become("service.planning", [])
    return 0


COMMAND = Command("find how many replicas, and of which size, keep p99 latency within a bound", add, run)
