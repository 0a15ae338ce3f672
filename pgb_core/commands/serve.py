"""`pgb serve`, and what else becomes another module in place of this process."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pgb_core.commands.base import Command

_NOTES = """
All settings of the service are accepted too, such as --models-dir FOLDER (then ARTIFACT may be left out),
--keys-file FILE or --threads 2. `python -P -m service --help` lists all of them.
"""


def add(p: argparse.ArgumentParser) -> None:
    """Models and address; the service knows its other settings."""
    p.add_argument(
        "artifacts", nargs="*", metavar="ARTIFACT", help="model to serve: PATH, NAME=PATH or hf://REPO[@REVISION]"
    )
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    p.add_argument("--port", default="8000", help="port to listen on (default 8000)")


def run(args: argparse.Namespace) -> int:
    """Only its help is parsed: `main` gives all arguments to `serve`."""
    serve([*args.artifacts, "--host", args.host, "--port", args.port])
    return 0


def serve(arguments: Sequence[str]) -> None:
    """Replace this process by the inference service."""
    become("service", arguments)


def become(module: str, arguments: Sequence[str]) -> None:
    """Replace this process by a module. -P: one of that name in the current directory is not run."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


COMMAND = Command("serve artifacts over HTTP (needs neither torch nor transformers)", add, run, _NOTES)
