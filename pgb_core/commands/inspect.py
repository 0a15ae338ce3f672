"""`pgb inspect`."""

from __future__ import annotations

import argparse
import math
import textwrap
from os.path import expanduser
from pathlib import Path
from typing import TYPE_CHECKING

from pgb_core.artifact import Artifact
from pgb_core.commands.base import Command
from pgb_core.commands.figures import held

if TYPE_CHECKING:
    from pgb_core.plan import Plan

WIDTH = 80  # of a terminal, which all lines fit


def add(p: argparse.ArgumentParser) -> None:
    """Artifact, and in which shape to show it."""
    p.add_argument("artifact", help="directory of an artifact, or hf://OWNER/NAME")
    shape = p.add_mutually_exclusive_group()
    shape.add_argument("--html", type=expanduser, help="write a picture of the structure to this HTML file")
    shape.add_argument("--json", action="store_true", help="print the manifest as one JSON object")
    shape.add_argument("--triton", action="store_true", help="print a config.pbtxt for Triton's ONNX Runtime backend")
    p.add_argument("--form", help="with --triton: form that Triton runs (default: the first form that is a graph)")


def run(args: argparse.Namespace) -> int:
    """Show the structure of an artifact."""
    from pgb_core import artifact
    from pgb_core.errors import ConfigError
    from pgb_core.hub import located
    from pgb_core.plan import Plan

    if args.form and not args.triton:
        raise ConfigError(f"--form {args.form}: says which form --triton is for; give --triton, or leave --form out")
    opened = artifact.open_artifact(located(args.artifact))
    plan = Plan.from_json(opened.plan.read_text("utf-8"))
    if args.html:
        _draw(opened, plan, args.html)
    elif args.json:
        print(opened.manifest.to_json())
    elif args.triton:
        from pgb_core import triton

        print(triton.config(opened, args.form), end="")
    else:
        _print(opened, plan)
    return 0


def _draw(opened: Artifact, plan: Plan, place: str) -> None:
    """The picture, into a file."""
    from pgb_core import inspect
    from pgb_core.errors import ConfigError

    if Path(place).resolve().parent == opened.path.resolve():
        raise ConfigError(f"--html {place}: is in the artifact, which has its own files alone; write elsewhere")
    try:
        Path(place).write_text(inspect.page(opened, plan), "utf-8")
    except OSError as error:
        raise ConfigError(f"--html {place}: cannot be written ({error.strerror}); write elsewhere") from error
    print(f"{place}: written")


def _print(opened: Artifact, plan: Plan) -> None:
    """A line a matrix, then what was measured."""
    from pgb_core import artifact, inspect
    from pgb_core.plan import flops

    print(f"{'matrix':22} {'shape':>11} {'groups':>6} {'block':>11} {'kept':>6} {'MFLOP@128':>10}")
    for index in range(plan.layers):
        for role, choice in plan.layer(index).items():
            groups, size = choice.described
            shape, block = (f"{rows}x{cols}" for rows, cols in (choice.shape, size))
            kept, flop = choice.cost / math.prod(choice.shape), 2 * 128 * choice.products
            print(f"{f'{index}.{role}':22} {shape:>11} {groups:>6} {block:>11} {kept:>6.1%} {flop / 1e6:>10.1f}")
    total = flops(plan, 128) / 1e6
    print(f"{'all':22} {'':>11} {'':>6} {'':>11} {plan.cost / plan.dense_cost:>6.1%} {total:>10.1f}")
    lines = [f"manifest sha256 {opened.digest}"]
    if plan.stream is not None:
        lines.append("the channels of the residual stream are reordered; matrices read the first of them")
    lines.append("layers dropped: " + (", ".join(map(str, plan.dropped_layers)) or "none"))
    lines += inspect.stages(opened.manifest.measured)
    with artifact.telling("ran or measured of a form"):
        for name, record in opened.manifest.forms.items():
            file = f"{opened.size(name) / 1e6:.1f} MB"
            lines.append(f"form {name}: {file}, {held(record.measured, bool(record.ran))}")
    for line in lines:
        print(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


COMMAND = Command("show what was kept of every matrix of an artifact, and what was measured", add, run)
