"""`pgb bench`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from os.path import expanduser

from pgb_core.commands.base import Command
from pgb_core.errors import ConfigError

SHAPES = "1x32,1x128,8x128,1x384"
MOST_SECONDS = 600
MOST_TOKENS = 1 << 17  # of a batch, padded: 256 texts of 512 tokens


def add(p: argparse.ArgumentParser) -> None:
    """Artifact, rival, shapes and time."""
    p.add_argument("artifact", help="directory of an artifact, or hf://OWNER/NAME")
    p.add_argument(
        "--against", type=expanduser, metavar="CHECKPOINT", help="checkpoint of the dense model to compare with"
    )
    p.add_argument(
        "--shapes",
        default=SHAPES,
        help=f"shapes to time, each as batch x tokens, separated by commas (default {SHAPES})",
    )
    p.add_argument(
        "--threads", type=int, help="threads of each model (default: one for each core this process may use)"
    )
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device of all models (default cpu)")
    p.add_argument(
        "--seconds", type=float, default=3.0, help="seconds for each model and shape, in short turns (default 3)"
    )
    p.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Time an artifact, and print the table."""
    from rich.console import Console

    from pgb_core import artifact
    from pgb_core.gate import load_checked
    from pgb_core.hub import located
    from pgb_core.measure import comparison
    from pgb_core.progress.bars import Bars
    from pgb_core.progress.report import Report
    from pgb_core.threads import allowed

    shapes = _shapes(args.shapes)
    if not 0 < args.seconds <= MOST_SECONDS:
        raise ConfigError(f"--seconds {args.seconds:g} is out of range; use above 0, at most {MOST_SECONDS}")
    if args.threads is not None:
        allowed(args.threads)
    opened = artifact.open_artifact(located(args.artifact))
    with Bars(Console(stderr=True)) as bars:
        bars.stage("Opening and timing every form", sum(tokens <= opened.manifest.max_length for _, tokens in shapes))
        dense = load_checked(args.against, opened.manifest.task, Report())[0] if args.against is not None else None
        found = comparison.compare(opened, dense, shapes, args.seconds, args.threads, bars.advance, args.device)
    left_out = [f"{b}x{s}" for b, s in shapes if (b, s) not in found.shapes]
    if left_out:
        most = opened.manifest.max_length
        print(f"left out: {', '.join(left_out)}; the model takes {most} tokens at most", file=sys.stderr)
    if args.json:
        print(json.dumps(found.as_json(), allow_nan=False))
        return 0
    print(comparison.table(found, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    for name, reason in found.left_out.items():
        print(f"left out: {name} ({reason})")
    if found.busy:
        print(f"the machine was too busy for reliable times: {found.busy}; measure again when it is idle")
    return 0


def _shapes(given: str) -> list[tuple[int, int]]:
    """Batch and tokens of each shape. Raises ConfigError."""
    try:
        shapes = [(int(b), int(s)) for b, s in (part.split("x") for part in given.split(","))]
    except ValueError as error:
        raise ConfigError(f"--shapes {given!r}: write them as 1x128,8x128") from error
    if not shapes or min(min(shape) for shape in shapes) < 1:
        raise ConfigError(f"--shapes {given!r}: batch and tokens must be 1 or more")
    large = next((f"{b}x{s}" for b, s in shapes if b * s > MOST_TOKENS), None)
    if large is not None:
        raise ConfigError(f"--shapes {large}: has more than {MOST_TOKENS:,} tokens in all; give a smaller batch")
    return shapes


COMMAND = Command("time every form of an artifact, beside the dense model if it is given", add, run)
