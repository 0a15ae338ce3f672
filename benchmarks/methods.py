"""Every method of `pgb compare` on two checkpoints: what each reaches in the same time.

SST-2 at a half and a quarter of the weights, questions at a quarter; the three best of a task also at 12%. Every
point gets the same budget. 5,000 rows of SST-2's training set, and a part of the questions to learn from, are kept out
of training; the three best are chosen there. The dev sets are scored once for each form of each point, and only these
scores are published. A finished point is written at once, so a stopped run goes on. The latencies of a task are timed
together at the end (`--report`), on a quiet machine.

    python -m benchmarks.methods --only sst2
    python -m benchmarks.methods --only sst2 --report

The budget becomes a number of epochs by the pace that the dense model had where the comparison began. The results keep
the pace, so a run that goes on elsewhere, or with `--device cuda`, takes as many steps as the first machine would.
With `--graphs` it leaves its artifacts without their weights, which can be carried to where they are timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import script
from benchmarks.accuracy import dev_scores, prepare
from benchmarks.hollow import emptied, filled
from benchmarks.pictures import alone
from pgb_core.compare.config import CompareConfig
from pgb_core.compare.page import Report, page, picture, sheet
from pgb_core.compare.points import SETTINGS, Points
from pgb_core.compare.rows import DENSE, Candidate, Point, Row, frontier
from pgb_core.compare.timing import timed
from pgb_core.inference.load import load
from pgb_core.machine import facts
from pgb_core.options import METHODS
from pgb_core.progress.bars import Bars
from pgb_core.threads import threads

FORMS = ("fp32", "int8")
SMALLEST, BEST = 0.12, 3
NEAR = 0.02  # what a size may be above the one that was asked for


@dataclass(frozen=True)
class Task:
    """What is compared on one checkpoint. minutes: of a point."""

    task: str
    minutes: float
    sizes: tuple[float, ...]
    metric: str
    ending: str
    settings: Mapping[str, Any]


TASKS = {
    "sst2": Task("classification", 8.0, (0.5, 0.25), "accuracy", "tsv", {}),
    "qa": Task("qa", 15.0, (0.25,), "F1", "json", {"samples": 512}),
}


def settings(
    name: str, minutes: float, methods: tuple[str, ...], keep: float, args: argparse.Namespace
) -> CompareConfig:
    """Of `pgb compare`, for some methods at one size."""
    task = TASKS[name]
    return CompareConfig(
        checkpoint=str(args.models / f"minilm-l6-{name}"),
        task=task.task,
        train=str(args.work / f"{name}-train.{task.ending}"),
        eval=str(args.work / f"{name}-choose.{task.ending}"),
        out=str(args.work / name),
        methods=methods,
        keep=(keep,),
        minutes=minutes,
        forms=FORMS,
        device=args.device,
        **task.settings,
    )


def made(name: str, found: dict[str, Any], args: argparse.Namespace) -> Iterator[Row]:
    """The points that the results lack, one by one: all methods at each size, then the best at the smallest."""
    rows, minutes = found["rows"], found["minutes"]
    for keep in args.keep or (*TASKS[name].sizes, SMALLEST):
        chosen = tuple(args.methods or (best(rows, TASKS[name].sizes[-1]) if keep == SMALLEST else METHODS))
        missing = tuple(method for method in chosen if f"{method}-{100 * keep:g}" not in rows)
        if missing:
            with threads(), Bars(Console(stderr=True)) as bars:
                for row in Points(settings(name, minutes, missing, keep, args), bars).made():
                    if row.point.name not in rows:
                        yield row


def resumed(name: str, found: dict[str, Any], args: argparse.Namespace) -> None:
    """Put the beginning of the comparison, as the results have it, where `pgb compare` looks for it."""
    path = args.work / name / SETTINGS
    if "begun" in found and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found["begun"], indent=1) + "\n", "utf-8")


def best(rows: Mapping[str, Any], keep: float) -> tuple[str, ...]:
    """The methods that reach a size and score highest there on the rows that were kept out of training."""
    found = {
        row["method"]: max(row["held out"].values())
        for row in rows.values()
        if row["keep"] == keep and row["kept"] < keep + NEAR and row["held out"]
    }
    return tuple(sorted(found, key=lambda method: -found[method])[:BEST])


def described(row: Row, path: Path, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """A point for the results: its dev scores in points of 100, with their standard errors, form by form."""
    dev: dict[str, Any] = {}
    for form in row.scores if not row.refused else ():
        with load(path, form) as loaded:
            scores = dev_scores(loaded, name, args.data)
        error = float(scores.std(ddof=1)) / len(scores) ** 0.5
        dev[form] = {"score": round(float(scores.mean()), 3), "error": round(error, 3), "rows": len(scores)}
    kept = {key: value for key, value in asdict(row).items() if key not in ("point", "scores")}
    return {
        "method": DENSE if row.point.name == DENSE else row.point.method,
        "keep": row.point.keep,
        "held out": row.scores,
        "dev": dev,
        **kept,
        "machine": facts()["cpu"],
        "device": args.device,
    }


def report(name: str, found: dict[str, Any], args: argparse.Namespace) -> None:
    """Time all points side by side, and draw their dev scores against their times."""
    rows, folder = found["rows"], args.work / name
    if args.graphs:
        for path in sorted(args.graphs.glob("*/*/manifest.json")):
            if path.parent.parent.name == name and not (folder / path.parent.name).exists():
                filled(path.parent, folder / path.parent.name)
    artifacts = {point: folder / point for point in rows if (folder / point / "manifest.json").exists()}
    dense = artifacts.pop(DENSE)
    with threads() as count, Bars(Console(stderr=True)) as bars:
        bars.stage("Timing every form beside the dense model")
        model = str(args.models / f"minilm-l6-{name}")
        measured = timed(model, dense, artifacts, count, args.seconds, bars.advance)
    found["times"], found["timed on"], found["busy"] = measured.times, facts(), measured.busy
    shape = list(measured.times[DENSE]["fp32"])[-1]
    candidates = [
        Candidate(
            point,
            row["method"],
            row["kept"],
            form,
            dev["score"],
            measured.times[point][form][shape],
            row["bytes"][form],
            point == DENSE,
        )
        for point, row in rows.items()
        for form, dev in row["dev"].items()
        if point in measured.times
    ]
    found["frontier"] = [f"{one.name} {one.form}" for one in frontier(candidates)]
    whole = rows[DENSE]["dev"]["fp32"]
    drawn = Report(
        name=f"minilm-l6-{name}",
        task=TASKS[name].task,
        metric=TASKS[name].metric,
        judged=whole["rows"],
        dense=whole["score"],
        error=whole["error"],
        rows=[row for row in (Row.load(folder, _point(one)) for one in rows.values()) if row],
        candidates=candidates,
        shape=shape,
        times=measured.times,
        machine=facts(),
        busy=measured.busy,
    )
    (args.work / f"{name}.html").write_text(page(drawn), "utf-8")
    (args.pictures / f"methods-{name}.svg").write_text(alone(picture(drawn), sheet()), "utf-8")


def _point(row: Mapping[str, Any]) -> Point:
    """Whose row this is."""
    return Point("pgb" if row["method"] == DENSE else row["method"], row["keep"])


def main() -> None:
    """Make the points that the result file lacks, or time and draw those that it has."""
    parser = script.parser(__doc__, "methods", "models", "data", work="artifacts and pictures")
    parser.add_argument(
        "--minutes",
        type=float,
        help="of a point where a task has no results yet; default 8 for SST-2, 15 for questions",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing for each form and shape")
    parser.add_argument("--only", choices=TASKS, help="one of the two")
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), help="some of them")
    parser.add_argument("--keep", nargs="+", type=float, help="some of the sizes")
    parser.add_argument("--device", default="cpu", help="where points are trained; all are timed on the CPU")
    parser.add_argument("--graphs", type=Path, help="directory of artifacts without weights: written, or timed")
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"), help="where the report's pictures go")
    parser.add_argument("--report", action="store_true", help="time and draw what was made; makes nothing")
    args = parser.parse_args()
    prepare(args.data, args.work)
    results = script.read(args.out, {})
    for name in [args.only] if args.only else TASKS:
        found = results.setdefault(name, {"minutes": args.minutes or TASKS[name].minutes, "rows": {}})
        if args.report:
            report(name, found, args)
            script.write(args.out, results)
            continue
        resumed(name, found, args)
        for row in made(name, found, args):
            path = args.work / name / row.point.name
            found["begun"] = json.loads((args.work / name / SETTINGS).read_text("utf-8"))
            found["rows"][row.point.name] = described(row, path, name, args)
            script.write(args.out, results)
            if args.graphs and not row.refused and not (args.graphs / name / row.point.name).exists():
                emptied(path, args.graphs / name / row.point.name)
            print(name, row.point.name, json.dumps(found["rows"][row.point.name]["dev"]), flush=True)


if __name__ == "__main__":
    main()
