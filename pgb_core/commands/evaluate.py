"""`pgb evaluate`."""

from __future__ import annotations

import argparse
import json
from os.path import expanduser

from pgb_core.commands.base import Command
from pgb_core.commands.figures import figure
from pgb_core.commands.flags import add_settings
from pgb_core.config import CompressConfig


def add(p: argparse.ArgumentParser) -> None:
    """Model, data, and how to read it."""
    p.add_argument("model", type=expanduser, help="checkpoint, artifact, or hf://OWNER/NAME for an artifact on the hub")
    p.add_argument(
        "--data",
        type=expanduser,
        required=True,
        help="file of labelled rows, or a hub dataset (docs/data.md has the rules)",
    )
    p.add_argument("--form", help="form of an artifact that is evaluated (default: its first form)")
    add_settings(p, CompressConfig, ("task", "text_column", "pair_column", "label_column", "labels"))
    p.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Print the metrics."""
    from rich.console import Console

    from pgb_core.data import Columns
    from pgb_core.measure.scoring import score
    from pgb_core.progress.bars import Bars
    from pgb_core.run.reading import Options

    columns = Columns(args.text_column, args.pair_column, tuple(args.label_column or ()))
    with Bars(Console(stderr=True)) as told:
        metrics = score(args.model, args.data, args.task, args.form, options=Options(columns, args.labels), report=told)
    for name, reason in metrics.reasons.items():
        told.warn(f"{name} is not defined: {reason}")
    if args.json:
        found = {"model": args.model, "data": args.data, "metrics": dict(metrics)}
        reasons = {"reasons": metrics.reasons} if metrics.reasons else {}
        print(json.dumps({**found, **reasons}, allow_nan=False))
    else:
        for name, value in metrics.rounded(6).items():  # as manifests have them, so that both print the same
            print(f"{name:28} {figure(value, '.4f')}")
    return 0


COMMAND = Command("compute the metrics of a checkpoint or an artifact on labelled rows", add, run)
