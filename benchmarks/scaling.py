"""Throughput and p99 by workers and threads, to the cores that this machine has, held against a law of scaling.

The law is the universal scalability law: n cores do X(n) = X(1) n / (1 + s (n - 1) + k n (n - 1)). With k = 0 it is
Amdahl's: s is the share of the work that is not done in parallel. k is what cores cost each other. Both are fitted to
threads of one process, and to processes of one thread. To hold the law against the measurement, it is fitted without
the largest number of cores, and forecasts that.

    python -m benchmarks.scaling ARTIFACT

The generator has the last core. A layout that takes all cores shares it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks import script
from benchmarks.capacity import Subject, arguments, described, forecast_capacity, replica_of, subject_of
from benchmarks.open_load import Sent, requests, send
from benchmarks.service.harness import CORES, GENERATOR, pinned

_OVER = 1.2  # times what as many cores would do that lose nothing
_AT = 0.6  # of the capacity, where p99 is measured
_SKIP = 2.0  # seconds at the start that do not count
_UNKNOWNS = 3  # of the universal law
_STEPS = 4  # from one core to all, each by the same factor


@dataclass(frozen=True)
class Law:
    """X(n) = first n / (1 + serial (n - 1) + crosstalk n (n - 1)). first: X(1)."""

    first: float
    serial: float
    crosstalk: float

    def at(self, cores: int) -> float:
        """X(cores)."""
        return self.first * cores / (1 + self.serial * (cores - 1) + self.crosstalk * cores * (cores - 1))

    @classmethod
    def fitted(cls, measured: Mapping[int, float], crosstalk: bool = True) -> Law:
        """To throughputs by cores, of which one core is the first. Least squares; neither coefficient is negative.
        crosstalk: False fits Amdahl's law."""
        first = measured[1]
        more = [n for n in measured if n > 1]
        if not more:
            return cls(first, 0.0, 0.0)
        columns = [[n - 1, n * (n - 1)] if crosstalk else [n - 1] for n in more]
        found, _ = nnls(np.array(columns, float), np.array([n * first / measured[n] - 1 for n in more]).clip(0))
        return cls(first, float(found[0]), float(found[1]) if crosstalk else 0.0)


def held(measured: Mapping[int, float]) -> dict[str, Any]:
    """Both laws fitted to all, and to all but the largest number of cores, which they then forecast."""
    last = max(measured)
    found: dict[str, Any] = {"measured": {str(n): round(x, 1) for n, x in measured.items()}}
    for name, crosstalk in (("amdahl", False), ("universal", True)):
        if crosstalk and len(measured) < _UNKNOWNS:
            continue  # one number of cores more would fit any law
        law = Law.fitted(measured, crosstalk)
        found[name] = {"serial": round(law.serial, 4), "crosstalk": round(law.crosstalk, 5)}
        if len(measured) > 2:
            without = Law.fitted({n: x for n, x in measured.items() if n < last}, crosstalk)
            found[name]["forecast of the last"] = round(without.at(last), 1)
            found[name]["off by"] = round(without.at(last) / measured[last] - 1, 4)
    return found


def layouts(cores: int) -> list[tuple[int, int]]:
    """Workers and threads: one process with more and more threads, and more and more processes with one."""
    counts = sorted({round(cores ** (step / _STEPS)) for step in range(_STEPS + 1)})
    return list(dict.fromkeys([*((1, n) for n in counts), *((n, 1) for n in counts)]))


def measured(
    subject: Subject, workers: int, threads: int, single: float, seconds: float, most: float
) -> dict[str, Any]:
    """Throughput of a layout under more than it can do, and latencies at a part of that. single: the forecast of one
    core; most: requests a second that the generator may send."""
    size = subject.profile.sizes[0].model_copy(update={"workers": workers, "threads": threads})
    with replica_of(subject, size) as urls:
        _sent(subject, urls, min(most, 0.3 * single), 3.0)  # it warms up
        offered = min(most, _OVER * workers * threads * single)
        full = _sent(subject, urls, offered, seconds)
        reached = full.goodput
        part = _sent(subject, urls, max(1.0, _AT * reached), seconds)
    return {
        "workers": workers,
        "threads": threads,
        "cores": workers * threads,
        "offered": round(offered, 1),
        "requests_per_second": round(reached, 1),
        "saturated": reached < 0.97 * offered,
        f"at {_AT:.0%}": part.summary(),
    }


def _sent(subject: Subject, urls: list[str], rate: float, seconds: float) -> Sent:
    arrivals = subject.arrivals(rate, seconds)
    bodies = requests(arrivals, subject.texts)
    with pinned(GENERATOR):
        return send(urls, arrivals, bodies, _SKIP)


def main() -> None:
    """Every layout, and the laws."""
    args = arguments(__doc__, "scaling", 11.0, 8)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    subject = subject_of(args.artifact, [(1, 1)], args.inputs)
    single = forecast_capacity(subject, subject.profile.sizes[0])
    rows = []
    for workers, threads in layouts(len(CORES)):
        row = measured(subject, workers, threads, single, args.seconds, args.most)
        rows.append(row)
        print(
            f"{workers}x{threads}: {row['requests_per_second']:.0f} requests a second"
            f"{'' if row['saturated'] else ' (all that was offered)'}; p99 {row[f'at {_AT:.0%}']['p99_ms']:.1f} ms "
            f"at {_AT:.0%} of it",
            flush=True,
        )
    threads_of = {row["threads"]: row["requests_per_second"] for row in rows if row["workers"] == 1}
    workers_of = {row["workers"]: row["requests_per_second"] for row in rows if row["threads"] == 1}
    result = {
        **described(subject, args),
        "rows": rows,
        "threads of one process": held(threads_of),
        "processes of one thread": held(workers_of),
    }
    for name in ("threads of one process", "processes of one thread"):
        print(f"{name}: {json.dumps(result[name])}")
    script.write(args.out, result)
    print(f"{args.out}: written")


if __name__ == "__main__":
    main()
