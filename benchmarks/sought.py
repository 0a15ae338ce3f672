"""`pgb compress --max-drop 1` and `--min-speedup 4`: what was promised, and what rows that had no say in it show.

On SST-2 of the shared checkpoints, and on banking77 and MRPC of `benchmarks.checkpoints`. Half of the dev set chooses
the size, the other half confirms it; both figures are the command's own. A finished row is written at once.

    python -m benchmarks.sought --only "mrpc, max-drop 1"
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.accuracy import prepare
from pgb_core.artifact import open_artifact
from pgb_core.machine import facts

MODELS = {"sst2": "{models}/minilm-l6-sst2", "banking77": "{checkpoints}/banking77", "mrpc": "{checkpoints}/mrpc"}
TRAIN = {
    "sst2": "{work}/sst2-train.tsv",
    "banking77": "{data}/banking77/train.csv",
    "mrpc": "{data}/glue/mrpc/train.tsv",
}
DEV = {"sst2": "{data}/glue/sst2/dev.tsv", "banking77": "{data}/banking77/test.csv", "mrpc": "{data}/glue/mrpc/dev.tsv"}
ASKED = (("max-drop", 1.0), ("min-speedup", 4.0))
EPOCHS = {"sst2": 3.0, "banking77": 6.0, "mrpc": 6.0}
FEWER = {"sst2, min-speedup 4": 1.0}  # epochs of rows where the speed decides


def rows() -> dict[str, tuple[str, str, float]]:
    """Task, flag and its value, by the name of the row."""
    return {f"{task}, {flag} {value:g}": (task, flag, value) for task in MODELS for flag, value in ASKED}


def row(task: str, flag: str, value: float, args: argparse.Namespace) -> dict[str, Any]:
    """One search by the command line; what it could not find is a row, too."""
    places: Mapping[str, Path] = vars(args)
    out = args.work / f"{task}-{flag}"
    epochs = FEWER.get(f"{task}, {flag} {value:g}", EPOCHS[task])
    given = ["--task", "classification", "--train", TRAIN[task].format(**places), "--eval", DEV[task].format(**places)]
    given += [f"--{flag}", f"{value:g}", "--epochs", f"{epochs:g}", "--forms", "fp32,int8,openvino-int8"]
    command = [sys.executable, "-m", "pgb_core.cli", "compress", MODELS[task].format(**places), *given]
    began = time.perf_counter()
    done = subprocess.run([*command, "--out", str(out), "--force"], check=False, stderr=subprocess.PIPE, text=True)
    minutes = round((time.perf_counter() - began) / 60, 1)
    if done.returncode:
        return {"minutes": minutes, "refused": done.stderr.strip().splitlines()[-1]}
    return {"minutes": minutes, **open_artifact(out).manifest.measured["promise"]}


def main() -> None:
    """Run the rows that the result file lacks."""
    parser = script.parser(__doc__, "sought", "models", "data", work="artifacts")
    parser.add_argument("--checkpoints", type=Path, default=Path(".checkpoints"))
    parser.add_argument("--only", choices=list(rows()), metavar="ROW", help="the row of this name")
    args = parser.parse_args()
    prepare(args.data, args.work)
    results = script.read(args.out, {"rows": {}})
    for name, (task, flag, value) in rows().items():
        if name in results["rows"] or (args.only and args.only != name):
            continue
        results["rows"][name] = {**row(task, flag, value, args), "machine": facts()}
        script.write(args.out, results)
        print(name, json.dumps(results["rows"][name]), flush=True)


if __name__ == "__main__":
    main()
