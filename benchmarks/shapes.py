"""What half of the weights costs models of other tasks and architectures than those of `benchmarks.accuracy`.

CoLA, SQuAD 2.0, and SST-2 in the shapes of DistilBERT and RoBERTa: the checkpoints of `benchmarks.checkpoints`, each
compressed by `pgb compress` with its defaults and scored on rows that nothing learned from. Nothing is chosen on them.
A finished row is written at once, so a stopped run goes on.

    python -m benchmarks.checkpoints --work .checkpoints
    python -m benchmarks.shapes --work .shapes
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import script
from benchmarks.accuracy import Scores, difference, row_scores
from pgb_core.artifact import FP32, open_artifact
from pgb_core.inference.load import load
from pgb_core.machine import facts

KEEP = 0.5


@dataclass(frozen=True)
class Model:
    """A checkpoint, with what it learns from and what it is scored on. metric: that of the task, by its name."""

    task: str
    train: str
    dev: str
    metric: str
    epochs: float


SST2 = ("classification", "{checkpoints}/sst2-train.tsv", "{data}/glue/sst2/dev.tsv", "accuracy", 1.0)
MODELS = {
    "cola": Model("classification", "{data}/glue/cola/train.tsv", "{data}/glue/cola/dev.tsv", "matthews", 6.0),
    "sst2-distilbert": Model(*SST2),
    "sst2-roberta": Model(*SST2),
    "squad2": Model("qa", "{checkpoints}/squad2-train.json", "{checkpoints}/squad2-dev.json", "best_f1", 3.0),
}


def compressed(name: str, keep: float, args: argparse.Namespace) -> Path:
    """The artifact of a checkpoint, by the command line. keep 1 is the dense model."""
    model, places, out = MODELS[name], vars(args), args.work / f"{name}-{keep:g}"
    if (out / "manifest.json").exists():
        return Path(out)
    rows = model.train.format(**places)
    asked = ["--task", model.task, "--keep", f"{keep:g}", "--forms", args.forms, "--device", args.device, "--force"]
    asked += ["--eval", model.dev.format(**places), "--out", str(out)]
    asked += ["--calibrate", rows] if keep == 1 else ["--train", rows, "--epochs", f"{model.epochs:g}"]
    subprocess.run([sys.executable, "-m", "pgb_core.cli", "compress", str(args.checkpoints / name), *asked], check=True)
    return Path(out)


def scored(name: str, path: Path, args: argparse.Namespace) -> dict[str, Scores]:
    """Scores row by row of the data, in every form of an artifact."""
    dev, found = Path(MODELS[name].dev.format(**vars(args))), {}
    for form in open_artifact(path).manifest.forms:
        with load(path, form) as loaded:
            found[form] = row_scores(loaded, MODELS[name].task, dev)
    return found


def measured(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Compress a checkpoint, and compare it with the dense model row by row."""
    dense = scored(name, compressed(name, 1, args), args)[FP32]
    began = time.perf_counter()
    path = compressed(name, KEEP, args)
    minutes = (time.perf_counter() - began) / 60
    scores, manifest = scored(name, path, args), open_artifact(path).manifest
    official: Mapping[str, Any] = manifest.measured["accuracy"]
    return {
        "weights_kept": round(manifest.weights["kept"] / manifest.weights["dense"], 4),
        "minutes": round(minutes, 1),
        "settings": manifest.provenance["settings"],
        "metric": MODELS[name].metric,
        "official": {
            "dense": official["dense"][MODELS[name].metric],
            FP32: official["compressed"][MODELS[name].metric],
            **{form: manifest.forms[form].measured["accuracy"][MODELS[name].metric] for form in scores if form != FP32},
        },
        "rows": len(dense),
        "dense": round(float(dense.mean()), 3),
        "forms": {
            form: {"score": round(float(each.mean()), 3), **difference(dense, each)} for form, each in scores.items()
        },
        "machine": {**facts(), "torch": torch.__version__},
    }


def main() -> None:
    """Run the rows that the result file lacks."""
    parser = script.parser(__doc__, "shapes", "data", work="artifacts")
    parser.add_argument("--checkpoints", type=Path, default=Path(".checkpoints"))
    parser.add_argument("--forms", default="fp32,int8,openvino-int8")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS))
    args = parser.parse_args()
    results = script.read(args.out, {"rows": {}})
    for name in args.only:
        if name not in results["rows"]:
            results["rows"][name] = measured(name, args)
            script.write(args.out, results)
            print(name, json.dumps(results["rows"][name]["forms"]), flush=True)


if __name__ == "__main__":
    main()
