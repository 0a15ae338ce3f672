"""What each idea for more accuracy a minute gains alone: every figure is of `pgb compress`, run by this script.

A row is one task, one idea, one size and one seed. All rows of a task have as many steps, and the same seed draws
the same rows. Each is compared with the default of its seed, row by row of the data, on rows of the training set that
nothing learns from: the dev sets are left for what is chosen in the end. A finished row is written at once, so a
stopped run goes on. What differs by less than its interval, or than two seeds of the default do, was not told apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from benchmarks.accuracy import difference, prepare, row_scores
from pgb_core.artifact import open_artifact
from pgb_core.inference.load import load
from pgb_core.machine import facts

DEFAULT = "default"
MORE = 0.5  # share of text that is made
HALF = "first to half"  # the size is made from a model of half the weights; each has half of the epochs
IDEAS: dict[str, tuple[str, ...]] = {
    DEFAULT: (),
    "best state": ("--best-state",),
    "price weight 0": ("--price-weight", "0"),
    "price weight 0.3": ("--price-weight", "0.3"),
    "price weight 1": ("--price-weight", "1"),
    "reconstruction": ("--units-by", "reconstruction"),
    "more text": ("--more-text", f"{MORE:g}"),
    HALF: (),
}


@dataclass(frozen=True)
class Row:
    """One artifact to make."""

    task: str
    idea: str
    keep: float
    seed: int

    @property
    def name(self) -> str:
        """As the results call it."""
        return f"{self.task}, {self.idea}, {self.keep:g}, seed {self.seed}"

    @property
    def file(self) -> str:
        """As its files are called."""
        return self.name.replace(", ", "-").replace(" ", "")

    def epochs(self, given: float) -> float:
        """As many steps as the default takes: an epoch with more text is longer, and two sizes are two trainings."""
        return given / {"more text": 1 + MORE, HALF: 2}.get(self.idea, 1)


def compress(row: Row, args: argparse.Namespace) -> Path:
    """The artifact of a row, by the command line."""
    out: Path = args.work / row.file
    made = out / f"keep-{row.keep:g}" if row.idea == HALF else out
    if (made / "manifest.json").exists():
        return made
    ending = "tsv" if row.task == "sst2" else "json"
    given = ["--train", str(args.work / f"{row.task}-train.{ending}"), "--out", str(out)]
    given += ["--keep", f"0.5,{row.keep:g}" if row.idea == HALF else f"{row.keep:g}"]
    given += ["--task", "classification" if row.task == "sst2" else "qa", "--forms", args.forms]
    given += ["--seed", str(row.seed), "--epochs", f"{row.epochs(args.epochs[row.task]):g}", "--device", args.device]
    if row.task == "qa":
        given += ["--tokens", "3072", "--samples", "512"]
    command = [sys.executable, "-m", "pgb_core.cli", "compress", str(args.models / f"minilm-l6-{row.task}"), *given]
    subprocess.run([*command, *IDEAS[row.idea]], check=True)
    return made


def measure(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    """Make the artifact, and score the rows to choose on once in every form."""
    start = time.perf_counter()
    path = compress(row, args)
    minutes = (time.perf_counter() - start) / 60
    manifest = open_artifact(path).manifest
    chosen = args.work / f"{row.task}-choose.{'tsv' if row.task == 'sst2' else 'json'}"
    found: dict[str, Any] = {
        "weights_kept": round(manifest.weights["kept"] / manifest.weights["dense"], 4),
        "minutes": round(minutes, 1),
        "epochs": args.epochs[row.task],
        "device": args.device,
        "importance kept": manifest.measured["stages"]["plan"].get("importance_kept"),
        "settings": manifest.provenance["settings"],
        "seconds": manifest.measured["seconds"],
        "scores": {},
    }
    for form in manifest.forms:
        with load(path, form) as loaded:
            scores = row_scores(loaded, row.task, chosen)
        np.save(args.work / f"{row.file}-{form}.npy", scores)
        found["scores"][form] = {"score": round(float(scores.mean()), 3), "rows": len(scores)}
        default = args.work / f"{replace(row, idea=DEFAULT).file}-{form}.npy"
        if row.idea != DEFAULT and default.exists():
            found["scores"][form]["to the default"] = difference(np.load(default), scores)
    return found


def main() -> None:
    """Run the rows that the result file lacks; the default comes first."""
    parser = script.parser(__doc__, "ideas", "models", "data", work="artifacts and scores")
    parser.add_argument("--forms", default="fp32,int8")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs-sst2", type=float, default=1)
    parser.add_argument("--epochs-qa", type=float, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tasks", nargs="+", choices=("sst2", "qa"), default=["sst2", "qa"])
    parser.add_argument("--keep", type=float, nargs="+", default=[0.25])
    parser.add_argument("--ideas", nargs="+", choices=tuple(IDEAS), default=list(IDEAS))
    args = parser.parse_args()
    args.epochs = {"sst2": args.epochs_sst2, "qa": args.epochs_qa}
    prepare(args.data, args.work)
    results = script.read(args.out, {"rows": {}})
    results.setdefault("machine", facts())
    every = itertools.product(args.seeds, args.tasks, args.keep, args.ideas)
    for row in (Row(task, idea, keep, seed) for seed, task, keep, idea in every):
        if row.name in results["rows"]:
            continue
        found = measure(row, args)
        results["rows"][row.name] = found if facts() == results["machine"] else {**found, "machine": facts()}
        script.write(args.out, results)
        print(row.name, json.dumps(results["rows"][row.name]["scores"]), flush=True)


if __name__ == "__main__":
    main()
