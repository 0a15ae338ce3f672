"""k6 on a core of its own, and what it counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.service.harness import GENERATOR, pinned

SCRIPT = Path(__file__).with_name("load.js")
COUNTED = (
    "sent",
    "in_time",
    "within",
    "refused",
    "refused_with_retry_after",
    "status_4xx",
    "status_5xx",
    "connection_refused",
    "unanswered",
    "broken",
)


@dataclass(frozen=True)
class Counts:
    """One run. Times in milliseconds, None when nothing was answered; the rest are requests.

    never_sent: the generator had no client free for them. cut_off: still open 10 s after the end of the run. in_time:
    answered within the bound. within: answered before the end of the run. broken: the connection ended
    without an answer.
    """

    seconds: float
    rate: float
    sent: int
    answered: int
    in_time: int
    within: int
    refused: int
    refused_with_retry_after: int
    status_4xx: int
    status_5xx: int
    connection_refused: int
    unanswered: int
    broken: int
    never_sent: int
    cut_off: int
    p50: float | None
    p99: float | None
    longest: float | None

    @property
    def offered(self) -> int:
        """Requests that were due."""
        return self.sent + self.never_sent

    @property
    def share_in_time(self) -> float:
        """Of the requests that were due."""
        return self.in_time / self.offered if self.offered else 0.0

    def record(self) -> dict[str, Any]:
        """For the result file."""
        return asdict(self)


def counts(metrics: Mapping[str, Any], rate: float, seconds: float) -> Counts:
    """From the metrics of a summary of k6."""

    def value(name: str, part: str = "count") -> Any:
        return metrics.get(name, {}).get("values", {}).get(part)

    counted = {name: int(value(name) or 0) for name in COUNTED}
    answered = int(value("answered_ms") or 0)
    times = [round(value("answered_ms", part), 2) if answered else None for part in ("p(50)", "p(99)", "max")]
    ended = answered + sum(counted[name] for name in COUNTED[3:] if name != "refused_with_retry_after")
    return Counts(
        seconds=seconds,
        rate=round(rate, 1),
        answered=answered,
        never_sent=int(value("dropped_iterations") or 0),
        cut_off=max(0, counted["sent"] - ended),
        p50=times[0],
        p99=times[1],
        longest=times[2],
        **counted,
    )


class Generator:
    """A run that goes on while other things are done; `wait` gives what it counted. rate 0: a closed model."""

    def __init__(
        self, url: str, bodies: Path, rate: float, seconds: float, bound_ms: float, clients: int = 300
    ) -> None:
        self._rate, self._seconds = rate, seconds
        self._folder = tempfile.TemporaryDirectory(prefix="peers-k6-")
        self._out = Path(self._folder.name) / "summary.json"
        settings = {"URL": url, "BODIES": bodies.resolve(), "RATE": rate, "SECONDS": seconds, "CLIENTS": clients}
        settings |= {"BOUND_MS": bound_ms, "OUT": self._out}
        beside = Path(sys.executable).with_name("k6")
        command = [str(beside if beside.exists() else "k6"), "run", "--quiet", "--no-usage-report", str(SCRIPT)]
        with pinned(GENERATOR):
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **{name: str(value) for name, value in settings.items()}},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

    def wait(self) -> Counts:
        """Until it ends by itself. Raises SystemExit when k6 fails."""
        _, errors = self._process.communicate()
        if not self._out.exists():
            raise SystemExit(f"k6: {errors.decode()}")
        found = counts(json.loads(self._out.read_text("utf-8")), self._rate, self._seconds)
        self._folder.cleanup()
        return found
