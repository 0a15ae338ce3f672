"""What few widths of batches bring to training, against batches that are as wide as their longest input.

The plans are those of two artifacts of `benchmarks.accuracy`, a quarter of the weights each; the inputs are of their
training sets. Each turn is a process of its own, because oneDNN keeps what it compiled: one epoch on some inputs, with
one thread. The two take turns. Counted are the processor's seconds, and the most memory that the process had. The
teacher's outputs are constants, so that only the training is timed.

    python -m benchmarks.widths
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks import script
from benchmarks.accuracy import prepare
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.learn import batches
from pgb_core.learn.finetune import Schedule, Trainer
from pgb_core.machine import facts
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import Plan
from pgb_core.progress.bars import Bars
from pgb_core.run.reading import Options, read
from pgb_core.tasks.features import Batch, Features

ENDINGS = {"sst2": "tsv", "qa": "json"}
LENGTHS = {"sst2": 128, "qa": 192}  # to which `pgb compress` cuts them
INPUTS = {"sst2": 6000, "qa": 600}
PLAN = "{task}-auto-0.25-seed0/plan.json"


def taught(inputs: Sequence[Features], batch: Batch, *, layers: int, hidden: int) -> tuple[Tensor, dict[int, Tensor]]:
    """Logits and hidden states of no model: all the same."""
    rows, tokens = batch.input_ids.shape
    of_start_and_end = isinstance(inputs[0].target, tuple)
    logits = torch.zeros(rows, tokens, 2) if of_start_and_end else torch.zeros(rows, 2)
    return logits, {layer: torch.ones(rows, tokens, hidden) for layer in range(layers)}


def turn(task: str, args: argparse.Namespace) -> dict[str, float]:
    """Train for an epoch, in this process: its seconds, steps and megabytes."""
    torch.set_num_threads(1)
    if args.exact:
        batches.width = int  # type: ignore[assignment]  # as wide as the longest input
    checkpoint = load_checkpoint(args.models / f"minilm-l6-{task}")
    plan = Plan.from_json((args.work / PLAN.format(task=task)).read_text("utf-8"))
    with Bars(Console(stderr=True)) as bars:
        rows = str(args.work / f"{task}-train.{ENDINGS[task]}")
        source = read(rows, checkpoint.subject, Options(), bars, labelled="--train")
        every = checkpoint.task.encode(source, checkpoint.subject, checkpoint.tokenizer, LENGTHS[task], bars)
    inputs = random.Random(0).sample(list(every), INPUTS[task])  # noqa: S311
    model, config = apply_plan(checkpoint.model, plan), checkpoint.model.config

    def teacher(group: Sequence[Features], batch: Batch) -> tuple[Tensor, dict[int, Tensor]]:
        return taught(group, batch, layers=config.layers, hidden=config.hidden)

    trainer = Trainer(model, teacher, inputs, checkpoint.subject.objective, Schedule(epochs=1.0))
    began = time.process_time()
    trainer.run()
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.process_time() - began, "steps": trainer.steps, "megabytes": megabytes}


def measured(task: str, args: argparse.Namespace) -> dict[str, Any]:
    """Both, turn by turn."""
    turns: dict[str, list[dict[str, float]]] = {"exact": [], "few": []}
    for _ in range(args.turns):
        for name, found in turns.items():
            asked = ["--models", str(args.models), "--work", str(args.work), "--turn", task]
            command = [sys.executable, "-m", "benchmarks.widths", *asked, *(["--exact"] if name == "exact" else [])]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(done.stdout))
    return {
        name: {
            "seconds": [round(one["seconds"], 2) for one in found],
            "steps": found[0]["steps"],
            "megabytes": [round(one["megabytes"]) for one in found],
        }
        for name, found in turns.items()
    }


def main() -> None:
    """Measure both tasks."""
    parser = script.parser(__doc__, "widths", "models", "data")
    parser.add_argument("--work", type=Path, default=Path(".accuracy"), help="of benchmarks.accuracy [%(default)s]")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--turn", choices=ENDINGS, help="one turn of this task in this process; prints it")
    parser.add_argument("--exact", action="store_true", help="the turn has batches as wide as their longest input")
    args = parser.parse_args()
    if args.turn:
        print(json.dumps(turn(args.turn, args)))
        return
    prepare(args.data, args.work)
    results = {task: measured(task, args) for task in ENDINGS}
    script.write(args.out, {**results, "inputs": INPUTS, "machine": {**facts(), "torch": torch.__version__}})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
