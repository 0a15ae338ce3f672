"""`pgb demo`."""

from __future__ import annotations

import argparse
from os.path import expanduser
from pathlib import Path

from pgb_core.commands.base import Command
from pgb_core.commands.serve import serve

MOST_PORT = 65535


def add(p: argparse.ArgumentParser) -> None:
    """Where the models go, and where they are served."""
    p.add_argument("--dir", type=expanduser, default=".demo", help="directory for its models (default .demo)")
    p.add_argument("--host", default="127.0.0.1", help="address to serve the models on (default 127.0.0.1)")
    p.add_argument("--port", type=int, default=8000, help="port to serve the models on (default 8000)")
    p.add_argument(
        "--threads",
        type=int,
        help="threads to compress with (default: one for each core this process may use, or OMP_NUM_THREADS if less)",
    )
    p.add_argument("--no-serve", action="store_true", help="print the table and stop without serving")


def run(args: argparse.Namespace) -> int:
    """Make the models, compare them, serve them."""
    from pgb_core import demo
    from pgb_core.errors import ConfigError

    if not 0 <= args.port <= MOST_PORT:
        raise ConfigError(f"--port {args.port} is out of range; use 0 to {MOST_PORT}")
    artifacts = demo.prepare(Path(args.dir), threads=args.threads)
    if not args.no_serve:
        demo.print_calls(args.host, args.port, artifacts[-1])
        serve([*map(str, artifacts), "--host", args.host, "--port", str(args.port)])
    return 0


COMMAND = Command("compress the built-in sentiment and QA models, compare them, and serve them", add, run)
