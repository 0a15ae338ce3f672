"""A server process, a load generator, and what each took of the machine."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.service.process import cpu_seconds, launched, memory_mb
from benchmarks.service.process import pinned as pinned

HERE = Path(__file__).parent
WARM_UP = 2  # seconds
STAGES = ("tokenize", "queue", "infer", "postprocess", "total")
# The generator gets the last core for itself and the service the others, so that neither takes from the other.
CORES = sorted(os.sched_getaffinity(0))
SERVICE, GENERATOR = (set(CORES[:-1]), {CORES[-1]}) if len(CORES) > 1 else (set(CORES), set(CORES))


@dataclass(frozen=True)
class Server:
    """A running server. ready_seconds: from its start to its first 200 on /health. key: sent with every request."""

    url: str
    process: subprocess.Popen[bytes]
    ready_seconds: float
    key: str = ""

    def cpu_seconds(self) -> float:
        """Of all its threads so far."""
        return cpu_seconds(self.process.pid)

    def rss_mb(self) -> float:
        """Resident memory."""
        return memory_mb(self.process.pid, "VmRSS")

    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as reply:  # noqa: S310 - our own server
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def post(self, path: str, body: object) -> tuple[int, str]:
        """Status and body."""
        headers = {"content-type": "application/json", "x-api-key": self.key}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def server(
    *args: str,
    cores: set[int] | None = None,
    checkout: Path | None = None,
    command: Sequence[str] = (sys.executable, "-P", "-m", "service"),
) -> Iterator[Server]:
    """`python -P -m service ARGS`, from start to ready to stopped. checkout: whose code runs; by default this one's."""
    environment = {**os.environ, **({"PYTHONPATH": str(checkout.resolve())} if checkout else {})}
    with launched([*command, *args, "--log-level", "warning"], environment, cores or set(CORES)) as found:
        yield Server(found.url, found.process, found.ready_seconds)


@dataclass(frozen=True)
class Load:
    """What a run of the generator saw. Rates are per second; shares are of all cores of the machine."""

    seconds: float
    metrics: dict[str, Any]
    generator_share: float
    server_share: float

    def count(self, name: str) -> int:
        """Of a counter."""
        return int(self.metrics.get(name, {}).get("values", {}).get("count", 0))

    @property
    def rows_per_second(self) -> float:
        """Answered between the warm-up and the last arrival; what is answered after that is not a rate."""
        return self.count("rows_within") / (self.seconds - WARM_UP)

    def trend(self, name: str) -> dict[str, float]:
        """Percentiles in milliseconds."""
        values = self.metrics.get(name, {}).get("values", {})
        return {key: round(value, 3) for key, value in values.items()}

    def rate(self, name: str) -> float | None:
        """Share of true among what was counted; None when nothing was."""
        values = self.metrics.get(name, {}).get("values")
        return None if values is None else round(values["rate"], 4)

    def summary(self) -> dict[str, Any]:
        """The figures of a result file."""
        return {
            "rows_per_second": round(self.rows_per_second, 1),
            "accepted_ms": self.trend("accepted_ms"),
            "stages_p50_p99_ms": {
                name: [self.trend(f"stage_{name}_ms").get(part) for part in ("p(50)", "p(99)")] for name in STAGES
            },
            "refused": self.count("refused"),
            "refused_with_retry_after": self.rate("refused_with_retry_after"),
            "failed": self.count("failed"),
            "wrong": self.count("wrong"),
            "never_sent": self.count("dropped_iterations"),
            "generator_share_of_cores": round(self.generator_share, 3),
            "server_share_of_cores": round(self.server_share, 3),
        }


class Generator:
    """k6 at a constant arrival rate, started at once; `wait` gives what it saw."""

    def __init__(
        self, target: Server, texts: Path, rate: float, seconds: float, rows: int, check: Path | None = None
    ) -> None:
        self._target = target
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory()
        self._out = Path(self._folder.name) / "summary.json"
        environment = {
            "KEY": target.key,
            "URL": target.url,
            "RATE": str(rate),
            "SECONDS": str(round(seconds)),
            "ROWS": str(rows),
            "WARM_UP": str(WARM_UP),
        }
        environment |= {"TEXTS": str(texts.resolve()), "OUT": str(self._out)}
        if check:
            environment["CHECK"] = str(check.resolve())
        k6 = Path(sys.executable).with_name("k6")
        command = [str(k6 if k6.exists() else "k6"), "run", "--quiet", "--no-usage-report", str(HERE / "load.js")]
        self._begun = time.perf_counter()
        self._server_cpu = target.cpu_seconds()
        self._own_cpu = _children_cpu()
        with pinned(GENERATOR):
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )

    def wait(self) -> Load:
        """Until it ends by itself."""
        _, errors = self._process.communicate()
        if not self._out.exists():
            raise SystemExit(f"k6: {errors.decode()}")
        taken = time.perf_counter() - self._begun
        alive = self._target.process.poll() is None
        used = self._target.cpu_seconds() - self._server_cpu if alive else 0.0
        cores = os.cpu_count() or 1
        metrics = json.loads(self._out.read_text())
        self._folder.cleanup()
        return Load(
            self._seconds,
            metrics,
            (_children_cpu() - self._own_cpu) / taken / cores,
            used / taken / cores,
        )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
