"""Load tests of the demo's models, dense and compressed, and a report with pictures.

One server after the other, each with a classification and a QA artifact, under the same scenarios. The
generator has the last core for itself and the service the others. Exits with 1 when a threshold was missed.

    python -m benchmarks.load.run [--quick]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as the service does; it is faster, too

from rich.console import Console

from benchmarks import script
from benchmarks.load.capacity import find
from benchmarks.load.models import ArtifactSet, prepare
from benchmarks.load.report import render
from benchmarks.service.harness import GENERATOR, SERVICE, Server, server
from benchmarks.service.process import pinned
from benchmarks.service.run import bare
from pgb_core.demo import examples_folder
from pgb_core.machine import facts
from service.settings import read_settings

SCRIPT = Path(__file__).with_name("scenarios.js")
STAGES = ("tokenize", "queue", "infer", "postprocess")
ROWS = 4
# Where several times its capacity is offered, so that the queue of a fast model is filled by texts, and not by
# requests that wait unread because reading and refusing them takes the core.
OVERLOAD_ROWS = 16
MARGIN = 0.5
# Where capacity is searched, more small requests may come than are read: they wait where admission cannot see them.
UNREAD = 60.0
WARM_UP = 1  # as in the script
SHARES = (0.2, 0.4, 0.6, 0.8, 0.95)
OVERLOADS = (2, 5)
# A request of the mix is about three times the work of one of the steady load.
MIX_SHARE = 0.2
LEAVE_SHARE = 1.5
PATIENCE_MS = 150


@dataclass(frozen=True)
class Lengths:
    """Seconds of each scenario, and the steps of the ladder. rounds: of capacity, of which the best counts."""

    capacity: int = 5
    rounds: int = 3
    steady: int = 7
    overload: int = 9
    over_time: int = 18
    mix: int = 10
    leave: int = 8
    shares: tuple[float, ...] = SHARES


QUICK = Lengths(capacity=3, rounds=2, steady=3, overload=3, over_time=7, mix=3, leave=3, shares=(0.2, 0.6, 0.95))


@dataclass(frozen=True)
class Scenario:
    """One run of the script. rate: texts a second. label: what it is called where a threshold does not hold.

    rows: texts of a request. margin: seconds by which p99 may be above the bound of admission.
    """

    name: str
    rate: float
    seconds: int
    label: str
    rows: int = ROWS
    margin: float = MARGIN


@dataclass
class Bench:
    """What all runs share. missed: thresholds that did not hold, each as a sentence."""

    lengths: Lengths
    texts: Path
    questions: Path
    bound: float
    missed: list[str] = field(default_factory=list)
    checked: int = 0

    def k6(self, target: Server, asked: Scenario) -> dict[str, Any]:
        """Run one scenario; its metrics. What did not hold is kept in `missed`."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "summary.json"
            settings = {"URL": target.url, "SCENARIO": asked.name, "RATE": f"{asked.rate / asked.rows:.2f}"}
            settings |= {"SECONDS": str(asked.seconds), "ROWS": str(asked.rows), "MARGIN": str(asked.margin)}
            settings |= {"BOUND": str(self.bound), "PATIENCE_MS": str(PATIENCE_MS), "OUT": str(out)}
            settings |= {"TEXTS": str(self.texts), "QUESTIONS": str(self.questions)}
            k6 = Path(sys.executable).with_name("k6")
            command = [str(k6 if k6.exists() else "k6"), "run", "--quiet", "--no-usage-report", str(SCRIPT)]
            with pinned(GENERATOR):
                ended = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
            if not out.exists():
                raise SystemExit(f"k6: {ended.stderr}")
            metrics: dict[str, Any] = json.loads(out.read_text())
        self._check(metrics, asked.label)
        return metrics

    def _check(self, metrics: dict[str, Any], label: str) -> None:
        """Keep which thresholds did not hold."""
        for name, metric in metrics.items():
            for rule, verdict in metric.get("thresholds", {}).items():
                if ">=" not in rule:
                    self.checked += 1
                    if not verdict["ok"]:
                        value = metric["values"].get(rule.partition("<")[0].partition("==")[0])
                        self.missed.append(f"{label}: {name} {rule} does not hold; it is {value:.0f}")


def count(metrics: dict[str, Any], name: str) -> int:
    """Of a counter; 0 when nothing was counted."""
    return int(metrics.get(name, {}).get("values", {}).get("count", 0))


def latency(metrics: dict[str, Any], tag: str = "") -> dict[str, float | None]:
    """Percentiles of what was accepted, in milliseconds; None without any."""
    values = metrics.get(f"accepted_ms{tag}", {}).get("values", {})
    found = values.get("count", 0)
    return {f"p{n}": round(values[f"p({n})"], 2) if found else None for n in (50, 90, 99)}


def summary(metrics: dict[str, Any], seconds: int) -> dict[str, Any]:
    """Figures of one run. Rates are texts a second; stages are means in milliseconds."""
    sent, refused = count(metrics, "rows_sent"), count(metrics, "rows_refused")
    mean = {name: metrics.get(f"stage_{name}_ms", {}).get("values", {}).get("avg", 0.0) for name in (*STAGES, "total")}
    seen = metrics.get("accepted_ms", {}).get("values", {}).get("avg", 0.0)
    return {
        "offered": round(sent / seconds, 1),
        "goodput": round(count(metrics, "rows_in_time") / (seconds - WARM_UP), 1),
        "refused_share": round(refused / sent, 4) if sent else 0.0,
        "requests": count(metrics, "accepted_ms"),
        "never_sent": count(metrics, "dropped_iterations"),
        "failed": count(metrics, "failed"),
        **latency(metrics),
        "stages": {
            **{name: round(mean[name], 2) for name in STAGES},
            "network": round(max(0, seen - mean["total"]), 2),
        },
    }


def buckets(metrics: dict[str, Any], seconds: int) -> list[dict[str, Any]]:
    """By the second in which a request was sent: texts offered, answered and refused, and latencies."""
    return [
        {
            "second": at,
            "offered": count(metrics, f"rows_sent{{at:{at}}}"),
            "answered": count(metrics, f"rows_answered{{at:{at}}}"),
            "refused": count(metrics, f"rows_refused{{at:{at}}}"),
            **latency(metrics, f"{{at:{at}}}"),
        }
        for at in range(seconds)
    ]


def spared(target: Server) -> float:
    """Seconds of compute that departed clients and passed deadlines saved so far, by the service's own count."""
    lines = target.get("/metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("pgb_saved_seconds_total"))


def measure(bench: Bench, target: Server, chosen: ArtifactSet, dense: float | None) -> Iterator[tuple[str, Any]]:
    """Every scenario on one server, as (key, figures). dense: capacity of the dense set, None when this is it."""
    lengths, name = bench.lengths, chosen.name
    texts = json.loads(bench.texts.read_text())
    alone = bare(chosen.artifacts["sentiment"], texts, 2, chosen.form)

    def capacity_of(rows: int) -> float:
        """In texts a second, that many a request."""

        def offer(rate: float) -> tuple[float, float]:
            label = f"{name}, capacity"
            metrics = bench.k6(target, Scenario("steady", rate, lengths.capacity, label, rows, UNREAD))
            ran = summary(metrics, lengths.capacity)
            return ran["offered"], ran["goodput"]

        return find(offer, 1.15 * alone, lengths.rounds)

    capacity = capacity_of(ROWS)
    yield "capacity", capacity
    large = capacity_of(OVERLOAD_ROWS)
    yield "overload_capacity", large
    ladder = [(share, "own", capacity) for share in lengths.shares]
    if dense is not None:
        ladder += [(share, "dense", dense) for share in lengths.shares]
    for share, of, full in ladder:
        label = f"{name}, steady at {share:.0%} of {'its own' if of == 'own' else 'the dense'} capacity"
        metrics = bench.k6(target, Scenario("steady", share * full, lengths.steady, label))
        yield "steady", {"share": share, "of": of, **summary(metrics, lengths.steady)}
    for times in OVERLOADS:
        label = f"{name}, {times} x overload"
        metrics = bench.k6(target, Scenario("steady", times * large, lengths.overload, label, OVERLOAD_ROWS))
        yield "overload", {"times": times, **summary(metrics, lengths.overload)}
    for scenario in ("ramp", "spike"):
        rows, full = (OVERLOAD_ROWS, large) if scenario == "spike" else (ROWS, capacity)
        metrics = bench.k6(target, Scenario(scenario, full, lengths.over_time, f"{name}, {scenario}", rows))
        yield scenario, buckets(metrics, lengths.over_time)
    metrics = bench.k6(target, Scenario("mix", MIX_SHARE * (dense or capacity), lengths.mix, f"{name}, mix"))
    tasks = {task: latency(metrics, f"{{task:{task}}}") for task in ("classify", "answer")}
    yield "mix", {"requests_per_second": round(MIX_SHARE * (dense or capacity) / ROWS, 1), **tasks}
    before = spared(target)
    metrics = bench.k6(target, Scenario("leave", LEAVE_SHARE * capacity, lengths.leave, f"{name}, clients that leave"))
    yield (
        "leave",
        {"left": count(metrics, "clients_left"), "spared": round(spared(target) - before, 2)}
        | summary(metrics, lengths.leave),
    )


def run(bench: Bench, sets: Sequence[ArtifactSet], console: Console) -> list[dict[str, Any]]:
    """All sets, one server after the other."""
    steps = sum(6 + len(OVERLOADS) + len(bench.lengths.shares) * (2 if n else 1) for n in range(len(sets)))
    found: list[dict[str, Any]] = []
    done, begun = 0, time.perf_counter()
    for chosen in sets:
        figures: dict[str, Any] = {"name": chosen.name, "form": chosen.form, "kept": round(chosen.kept, 4)}
        figures |= {"steady": [], "overload": []}
        with server(*chosen.arguments(), "--drain-seconds", "0", cores=SERVICE) as target:
            figures["ready_seconds"] = round(target.ready_seconds, 2)
            for key, value in measure(bench, target, chosen, found[0]["capacity"] if found else None):
                if isinstance(figures.get(key), list):
                    figures[key].append(value)
                else:
                    figures[key] = value
                done += 1
                console.print(
                    f"{time.perf_counter() - begun:5.0f} s  {done:2d}/{steps}  {_told(chosen.name, key, value)}"
                )
            figures["rss_mb"] = round(target.rss_mb())
        found.append(figures)
    return found


def _told(name: str, key: str, value: Any) -> str:
    if key in ("capacity", "overload_capacity"):
        return f"{name}: capacity {value:.0f} texts/s, {ROWS if key == 'capacity' else OVERLOAD_ROWS} a request"
    if key in ("steady", "overload"):
        level = f"{value['share']:.0%} of {value['of']}" if key == "steady" else f"{value['times']} x its own"
        return (
            f"{name}: {level}, {value['offered']:.0f} texts/s offered, {value['goodput']:.0f} answered, "
            f"{value['refused_share']:.0%} refused, p50 {value['p50']} ms, p99 {value['p99']} ms"
        )
    return f"{name}: {key}"


def samples(folder: Path) -> tuple[Path, Path]:
    """The built-in texts and questions, as the script reads them."""
    data = examples_folder() / "data"
    texts = [json.loads(line)["text"] for line in (data / "sentiment.jsonl").read_text("utf-8").splitlines()]
    passages = [p for d in json.loads((data / "questions.json").read_text("utf-8"))["data"] for p in d["paragraphs"]]
    questions = [{"question": qa["question"], "context": p["context"]} for p in passages for qa in p["qas"]]
    files = folder / "texts.json", folder / "questions.json"
    for file, content in zip(files, (texts, questions), strict=True):
        file.write_text(json.dumps(content), "utf-8")
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Make the artifacts, run the scenarios, write figures and report."""
    parser = script.parser(__doc__, "load")
    parser.add_argument("--quick", action="store_true", help="about 2 minutes, with fewer and shorter runs")
    parser.add_argument("--demo", type=Path, default=Path(".demo"), help="where `pgb demo` keeps its models [.demo]")
    parser.add_argument("--models", type=Path, default=Path(".load"), help="where the others are kept [.load]")
    parser.add_argument("--report", type=Path, help="HTML file [load.html in the folder of --models]")
    args = parser.parse_args(argv)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    report = args.report or args.models / "load.html"
    sets = prepare(args.demo, args.models, console)
    bound = read_settings([]).max_queue_seconds
    lengths = QUICK if args.quick else Lengths()
    begun, busy = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="pgb-load-") as scratch:
        bench = Bench(lengths, *samples(Path(scratch)), bound)
        found = run(bench, sets, console)
    cores = {"cores_of_service": len(SERVICE), "cores_of_generator": len(GENERATOR)}
    figures = {
        "machine": {**facts(), **cores, "load_average_before": round(busy, 1)},
        "quick": args.quick,
        "seconds": round(time.perf_counter() - begun),
        "rows": ROWS,
        "overload_rows": OVERLOAD_ROWS,
        "bound_seconds": bound,
        "margin_seconds": MARGIN,
        "patience_ms": PATIENCE_MS,
        "checked": bench.checked,
        "missed": bench.missed,
        "sets": found,
    }
    for path, content in ((args.out, json.dumps(figures, indent=1) + "\n"), (report, render(figures))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    for line in bench.missed:
        console.print(f"MISSED  {line}")
    print(f"figures  {args.out.resolve()}\nreport   {report.resolve()}")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    sys.exit(main())
