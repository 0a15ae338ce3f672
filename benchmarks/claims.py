"""What the papers say of their methods, tried on SST-2: sizes at which little is lost, and one method above another.

Each run is a command of `pgb compress`, in which single weights or whole heads go, as in the papers. All runs have the
same number of epochs. The dev set is scored once for each run, in fp32, and compared row by row of the data: with the
dense model, or with another run. A finished run is written at once, so a stopped script goes on.

    python -m benchmarks.claims --device cpu
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import script
from benchmarks.accuracy import dev_scores, difference, prepare
from pgb_core.artifact import FP32
from pgb_core.inference.load import load
from pgb_core.machine import facts

DENSE = "dense"
NOTICED = 1.0  # points: a mean loss of at most this is little


@dataclass(frozen=True)
class Claim:
    """One run, and what a paper says of it.

    keep: share of the encoder's weights; heads hold a third of them, so 0.9 is 30% of the heads gone. beside: what the
    run is compared with. claimed: to lose little to it, to lose much to it, or to score above it.
    """

    method: str
    structure: str
    keep: float
    said: str
    beside: str = DENSE
    claimed: Literal["little", "much", "above"] = "little"

    @property
    def name(self) -> str:
        """As the results call it."""
        return f"{self.method} {self.structure} {self.keep:g}"


CLAIMS = (
    Claim("magnitude", "weights", 0.65, "30 to 40% of the weights can go"),
    Claim("proximal", "weights", 0.41, "59% of the weights can go"),
    Claim("michel", "heads", 0.9, "20 to 40% of the heads can go"),
    Claim("magnitude", "weights", 0.1, "falls behind at 10%", claimed="much"),
    Claim("movement", "soft", 0.1, "above magnitude at 10%", "magnitude weights 0.1", claimed="above"),
    Claim("movement", "hard", 0.1, "above magnitude at 10%", "magnitude weights 0.1", claimed="above"),
    Claim("voita", "heads", 0.9, "30% of the heads can go (the paper: most of them)"),
)


def reproduced(claim: Claim, lost: dict[str, float]) -> bool:
    """Whether a difference to what the run is compared with (see `difference`) is as the paper says."""
    if claim.claimed == "above":
        return lost["to"] < 0
    return (lost["lost"] > NOTICED) == (claim.claimed == "much")


def made(claim: Claim | None, args: argparse.Namespace) -> tuple[Path, float]:
    """The artifact of a run, or of the dense model, and the minutes that it took."""
    out: Path = args.work / (claim.name.replace(" ", "-") if claim else DENSE)
    rows, began = str(args.work / "sst2-train.tsv"), time.perf_counter()
    command = [sys.executable, "-m", "pgb_core.cli", "compress", str(args.models / "minilm-l6-sst2")]
    command += ["--task", "classification", "--forms", FP32, "--device", args.device, "--out", str(out)]
    if claim is None:
        command += ["--keep", "1", "--calibrate", rows]
    else:
        command += ["--method", claim.method, "--structure", claim.structure, "--keep", f"{claim.keep:g}"]
        command += ["--train", rows, "--epochs", f"{args.epochs:g}"]
    if not (out / "manifest.json").exists():
        subprocess.run(command, check=True)
    return out, round((time.perf_counter() - began) / 60, 1)


def measured(claim: Claim | None, args: argparse.Namespace) -> dict[str, Any]:
    """Make a run, score dev once."""
    path, minutes = made(claim, args)
    with load(path, FP32) as loaded:
        scores = dev_scores(loaded, "sst2", args.data)
    np.save(args.work / f"{path.name}.npy", scores)
    found: dict[str, Any] = {"score": round(float(scores.mean()), 3), "rows": len(scores), "minutes": minutes}
    if claim:
        other = args.work / f"{claim.beside.replace(' ', '-')}.npy"
        lost = difference(np.load(other), scores)
        found |= {"epochs": args.epochs, "said": claim.said, "beside": claim.beside, "to it": lost}
        found["reproduced"] = reproduced(claim, lost)
    return found


def main() -> None:
    """Make the runs that the result file lacks; the dense model comes first."""
    parser = script.parser(__doc__, "claims", "models", "data", work="artifacts and scores")
    parser.add_argument("--epochs", type=float, default=0.4)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    prepare(args.data, args.work)
    results = script.read(args.out, {"rows": {}})
    results["machine"] = facts()
    for claim in (None, *CLAIMS):
        name = claim.name if claim else DENSE
        if name not in results["rows"]:
            results["rows"][name] = measured(claim, args)
            script.write(args.out, results)
            print(name, json.dumps(results["rows"][name]), flush=True)


if __name__ == "__main__":
    main()
