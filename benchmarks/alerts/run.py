"""Cause each alert once beside a real Prometheus, run every query of the dashboard, and draw both.

    python -m benchmarks.alerts.run ARTIFACT [--page FILE]

ARTIFACT is a classifier. Two services of it run: `ml/ill`, to which everything is done, and `ml/well`, which answers
steadily and of which no alert may tell. Prometheus is that of PATH, with the rules of docker/prometheus and the times
of benchmarks/alerts/prometheus.py in place of theirs. What fired when goes to benchmarks/results/alerts.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.alerts.causes import CAUSES, SMALL, Cause, Service, repeated
from benchmarks.alerts.page import DASHBOARD, STEP, asked, legend, page, panel, points, timeline
from benchmarks.alerts.prometheus import RULES, SHORTER, Prometheus, Target, prometheus, shortened
from benchmarks.engine import ROOT
from pgb_core.machine import facts

RESULTS = ROOT / "benchmarks/results/alerts.json"
ILL, WELL = "ml/ill", "ml/well"
WAIT = 120.0
# Grafana's interval for a scrape of one second would be four.
INTERVAL = "10s"


def wait(until: float, done: Any) -> bool:
    """Whether `done()` came true before that instant."""
    while not (found := done()) and time.monotonic() < until:
        time.sleep(0.5)
    return bool(found)


def caused(cause: Cause, ill: Service, beside: Prometheus, folder: Path) -> dict[str, Any]:
    """Do it, wait for its alerts, note what the runbook looks at, undo it, wait until nothing fires any more."""
    begun = time.monotonic()
    with contextmanager(cause.run)(ill, folder):
        wanted = {(alert, ILL) for alert in cause.alerts}
        fired = wait(time.monotonic() + WAIT, lambda: wanted <= beside.firing())
        seconds = time.monotonic() - begun
        time.sleep(5)  # or what is looked at has no rate yet
        firing = beside.firing()
        seen = {query: _plain(beside.query(query)) for query in cause.look}
        log = ill.said(cause.log) if cause.log else ""
    undone = time.monotonic()
    ill.start()
    ended = wait(time.monotonic() + WAIT, lambda: not beside.firing())
    return {
        "caused by": cause.told,
        "fired": fired,
        "seconds to firing": round(seconds, 1),
        "also fired": sorted(alert for alert, service in firing if service == ILL and alert not in cause.alerts),
        "of another service": sorted(alert for alert, service in firing if service != ILL),
        "looked at": seen,
        **({"log": log} if log else {}),
        "seconds to quiet": round(time.monotonic() - undone, 1) if ended else None,
    }


def _plain(series: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Values by what their labels say."""
    return {
        " ".join(f"{one['metric'][name]}" for name in sorted(one["metric"])): round(float(one["value"][1]), 4)
        for one in series
        if float(one["value"][1]) == float(one["value"][1])
    }


def states(beside: Prometheus, begin: float, end: float) -> dict[str, dict[str, list[float]]]:
    """Of each alert and service the seconds at which it was pending and firing."""
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for one in beside.history("ALERTS", begin, end, 1):
        labels = one["metric"]
        name = f"{labels['alertname']} {labels['namespace']}/{labels['service']}"
        at = found[name].setdefault(labels["alertstate"], [])
        at += [round(float(time) - begin) for time, _ in one["values"]]
    return dict(sorted(found.items()))


def dashboard(beside: Prometheus, begin: float, end: float) -> tuple[list[dict[str, Any]], str]:
    """Every query of every panel: how many series of which services it gave; and the panels drawn."""
    counted, drawn = [], ""
    for shown in DASHBOARD["panels"]:
        lines = []
        for target in shown["targets"]:
            series = beside.history(asked(target["expr"], INTERVAL), begin, end, STEP)
            one = beside.history(asked(target["expr"], INTERVAL, "well"), begin, end, STEP)
            services = {found["metric"].get("service", "") for found in series}
            counted.append(
                {
                    "panel": shown["title"],
                    "query": target["refId"],
                    "series": len(series),
                    "services": sorted(services),
                    "services where one is chosen": sorted({found["metric"].get("service", "") for found in one}),
                }
            )
            for found in series:
                name = legend(target["legendFormat"], found["metric"])
                lines.append((name, [(at - begin, value) for at, value in points(found)]))
        drawn += panel(shown, lines, end - begin)
    return counted, drawn


def main() -> None:
    """Run all and write the results; ends with 1 where an alert did not fire, or told of the other service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--page", type=Path, default=ROOT / "build/alerts.html", help="where the page is written")
    parser.add_argument("--port", type=int, default=18500, help="the first of three ports [18500]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgb-alerts-") as temporary:
        folder = Path(temporary)
        ill, well = (Service(args.artifact, args.port + n, folder) for n in (1, 2))
        targets = [Target(f"127.0.0.1:{one.port}", "ml", name) for one, name in ((ill, "ill"), (well, "well"))]
        try:
            well.start()
            ill.start()
            with (
                prometheus(folder, targets, args.port, shortened(RULES.read_text("utf-8"))) as beside,
                repeated(lambda: well.ask("/v1/classify", SMALL), 1, 0.2),
                repeated(lambda: well.ask("/v1/classify", {"inputs": ""}), 1, 1.0),
            ):
                begin = time.time()
                time.sleep(10)
                alerts: dict[str, dict[str, Any]] = {}
                for cause in CAUSES:
                    found = caused(cause, ill, beside, folder)
                    alerts |= dict.fromkeys(cause.alerts, found)
                    print(", ".join(cause.alerts), json.dumps(found), flush=True)
                end = time.time()
                when = states(beside, begin, end)
                counted, drawn = dashboard(beside, begin, end)
        finally:
            ill.kill()
            well.kill()
    wrong = sorted({name.split()[0] for name, found in when.items() if name.endswith(WELL) and found.get("firing")})
    result = {
        "machine": facts(),
        "times in place of the rules'": SHORTER,
        "alerts": alerts,
        "fired for the service that was well": wrong,
        "dashboard": counted,
    }
    script.write(RESULTS, result)
    told = "Each alert was caused once to the service ml/ill, beside ml/well. Yellow: pending. Red: firing."
    args.page.parent.mkdir(parents=True, exist_ok=True)
    args.page.write_text(page(told, timeline(when, end - begin), drawn), "utf-8")
    raise SystemExit(bool(wrong) or not all(found["fired"] for found in alerts.values()))


if __name__ == "__main__":
    main()
