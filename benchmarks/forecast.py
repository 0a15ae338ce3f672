"""Fits what compression costs in accuracy to the importance that a plan keeps, from the rows of other benchmarks.

Losses are those on the dev sets, in fp32, of `accuracy.json` and `structures.json`. Where these lack the importance,
`--measure` makes the plans again and keeps it in `forecast.json`. That file also has earlier rows, of plans in which
prices counted in full. The metric of the compensated model before training is not used: on SST-2 it is that of chance
from 25% down, where training gives nearly everything back.

A row is foretold by a fit to all others. The errors of these say how wide the range is. The fit without a whole
checkpoint is written too: it says how little two checkpoints are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks import script
from benchmarks.accuracy import prepare
from pgb_core.config import CompressConfig
from pgb_core.forecast import FILE, LEAST, Fit
from pgb_core.methods import method_of
from pgb_core.progress.report import Report
from pgb_core.run.cache import Cache
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace

RESULTS = Path("benchmarks/results")
SEARCHES = ("nested", "disjoint", "shared", "auto")  # the quickest first
CHANCE = {"sst2": 50.0, "qa": 0.0}
RANGE = (0.1, 0.9)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A trained model. kept: share of the importance; lost: share of what the dense model has above chance."""

    name: str
    task: str
    kept: float
    lost: float


def measure(models: Path, data: Path, work: Path) -> None:
    """The importance that the plan of every row of `structures.json` keeps, of those that have none yet."""
    prepare(data, work)
    out = RESULTS / "forecast.json"
    found = script.read(out, {"rows": {}})
    shared: dict[str, Shared] = {}
    every = _rows("structures")
    for name, row in sorted(every.items(), key=lambda item: SEARCHES.index(item[1]["settings"]["structure"])):
        asked = row["settings"]
        twin = name.replace(" auto,", " nested,")
        if asked["keep"] == 1 or asked["noise"] == 0 or name in found["rows"] or (twin != name and twin in every):
            continue
        task, ending = name.split(",")[0], "tsv" if name.startswith("sst2") else "json"
        if task not in shared:
            shared = {task: Shared(Cache(work / "cache"))}
        config = CompressConfig(
            checkpoint=str(models / f"minilm-l6-{task}"),
            out=str(work / "planned"),
            task=asked["task"],
            train=str(work / f"{task}-train.{ending}"),
            structure=asked["structure"],
            keep=asked["keep"],
            seed=asked["seed"],
            samples=asked["samples"],
            plan_for=None if asked["structure"] == "disjoint" else "int8",
        )
        run = Run.begin(config, Report(), Workspace(work).part(name.replace(", ", "-")), shared[task])
        kept = method_of(config).importance_kept(run)
        found["rows"][name] = {"importance_kept": round(kept or 0.0, 4)}
        script.write(out, found)
        print(name, found["rows"][name], flush=True)


def rows() -> list[Row]:
    """Every row whose importance is known. `auto` made the plans of `nested` and stands once."""
    found = []
    for name, row in _rows("forecast", "earlier").items():
        task = name.split(":")[0]
        lost = (row["dense"] - row["finetuned"]) / (row["dense"] - CHANCE[task])
        found.append(Row(f"earlier: {name}", task, row["importance_kept"], lost))
    known = _rows("forecast")
    for file in ("structures", "accuracy"):
        every = _rows(file)
        for name, row in every.items():
            task, structure = name.split(", ")[:2]
            twin = name.replace(" auto,", " nested,")
            told = row["measured"].get("stages", {}).get("plan", {})
            kept = told if "importance_kept" in told else known.get(name, known.get(twin))
            if kept is None or row["settings"]["keep"] == 1 or (structure == "auto" and twin in every):
                continue
            dense = every[f"{task}, auto, 1, seed 0"]["dev"]["fp32"]["score"]
            lost = row["dev"]["fp32"]["to dense"]["lost"] / (dense - CHANCE[task])
            found.append(Row(f"{file}: {name}", task, kept["importance_kept"], lost))
    return found


def fitted(some: Sequence[Row]) -> tuple[float, float]:
    """Scale and power of the least squares."""
    gone = np.array([1 - row.kept for row in some])
    lost = np.array([row.lost for row in some])

    def residuals(numbers: Array) -> Array:
        found: Array = np.exp(numbers[0]) * gone ** numbers[1] - lost
        return found

    scale, power = least_squares(residuals, (-1.0, 1.5)).x
    return float(np.exp(scale)), float(power)


def report(every: Sequence[Row]) -> dict[str, Any]:
    """The fit, its errors, and every row beside what the others foretell of it."""
    told = []
    for row in every:
        scale, power = fitted([other for other in every if other is not row])
        told.append(scale * (1 - row.kept) ** power)
    foretold, lost = np.array(told), np.array([row.lost for row in every])
    low, high = (float(np.quantile((lost - foretold) / (foretold + LEAST), share)) for share in RANGE)
    scale, power = fitted(every)
    tasks = sorted({row.task for row in every})
    fit = Fit(round(scale, 4), round(power, 4), round(low, 4), round(high, 4), len(every), len(tasks), "pgb")
    without = {}
    for task in tasks:
        s, p = fitted([row for row in every if row.task != task])
        errors = [abs(s * (1 - row.kept) ** p - row.lost) for row in every if row.task == task]
        without[task] = round(float(np.mean(errors)), 4)
    return {
        "script": "benchmarks/forecast.py",
        "fit": asdict(fit),
        "mean error, leaving one row out": round(float(np.abs(lost - foretold).mean()), 4),
        "mean error, leaving a checkpoint out": without,
        "rows": [
            {**asdict(row), "lost": round(row.lost, 4), "foretold": round(float(one), 4)}
            for row, one in zip(every, told, strict=True)
        ],
    }


def _rows(name: str, part: str = "rows") -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))[part] if path.exists() else {}
    return found


def main() -> None:
    """Measure what is asked for, and write the fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="make the plans whose importance is not known")
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path(".forecast"), help="data and scores")
    args = parser.parse_args()
    if args.measure:
        measure(args.models, args.data, args.work)
    found = report(rows())
    script.write(FILE, found)
    print(json.dumps({name: value for name, value in found.items() if name != "rows"}, indent=1))


if __name__ == "__main__":
    main()
