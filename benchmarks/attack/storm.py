"""Minutes of costly requests without a pause, four open at a time, beside one client that behaves.

Fails when liveness is silent for half a second, when the process takes more memory than it may, when the client's
requests fail or its p99 is past the promise, or when an answer is a 500 or the process ends.

    python -m benchmarks.attack.storm CLASSIFIER QA [--minutes 10] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks import script
from benchmarks.attack.costs import MODELS, OUT, start
from benchmarks.attack.crowd import Crowd
from benchmarks.attack.drawn import Drawn
from benchmarks.attack.watch import Liveness, send
from benchmarks.service.process import cpu_seconds, forget_most, free_port, memory_mb
from pgb_core.machine import facts

OPEN = 4
SLOW = 3  # seconds for a body, so that slow senders do not take the storm's places
SILENCE = 0.5  # seconds
MEMORY = 4 * 100.0 + 60  # MB above the start: what four requests may take, and what the allocator keeps
PROMISE = 2.0  # seconds: max_queue_seconds


class Storm:
    """Senders of attacks, until so many are sent and an instant has passed, or the process has ended."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], attacks: Drawn, least: int, end: float) -> None:
        self._port, self._process, self._attacks = port, process, attacks
        self._least, self._end = least, end
        self._lock = threading.Lock()
        self.done = 0
        self.by_kind: dict[str, Counter[str]] = {}
        self.slowest: dict[str, float] = {}

    def run(self) -> None:
        """Send from all senders, and wait for them."""
        threads = [threading.Thread(target=self._send, daemon=True) for _ in range(OPEN)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self) -> None:
        while self._process.poll() is None:
            with self._lock:
                if time.monotonic() > self._end and self.done >= self._least:
                    return
                attack = self._attacks.attack()
            begun = time.monotonic()
            statuses = send(self._port, attack)
            with self._lock:
                self.done += 1
                counted = self.by_kind.setdefault(attack.name, Counter())
                counted.update({str(status) for status in statuses} or {"none"})
                self.slowest[attack.name] = max(self.slowest.get(attack.name, 0.0), time.monotonic() - begun)


def main() -> None:
    """The storm, and what came of it; exit status 1 when a bound was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs=2, type=Path)
    parser.add_argument("--service", type=Path, default=Path(), help="folder of the code that is served")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--least", type=int, default=5_000, help="attacks, however long they take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    port = free_port()
    process = start(args.service, args.models, port, "--max-body-seconds", str(SLOW))
    end = time.monotonic() + 60 * args.minutes
    storm = Storm(port, process, Drawn(MODELS[0], args.seed), args.least, end)
    forget_most(process.pid)
    fresh, cpu, begun = memory_mb(process.pid, "VmRSS"), cpu_seconds(process.pid), time.monotonic()
    try:
        with Liveness(port, 0.02) as live, Crowd(port, MODELS[0], clients=1, pace=0.05) as client:
            storm.run()
        ended = process.poll() is not None
        most = 0.0 if ended else memory_mb(process.pid)
        left = 0.0 if ended else memory_mb(process.pid, "VmRSS")
        used = 0.0 if ended else cpu_seconds(process.pid) - cpu
    finally:
        process.kill()
        process.wait()
    summary = client.summary()
    bounds = {
        "the process ended": ended,
        "liveness was silent": live.worst > SILENCE,
        "it took too much memory": most > fresh + MEMORY,
        "the client's requests failed": set(summary["statuses"]) != {"200"},
        "the client waited too long": (summary["p99_ms"] or 1e9) > 1e3 * PROMISE,
        "an answer was a 500": any("500" in count for count in storm.by_kind.values()),
    }
    broken = [what for what, bad in bounds.items() if bad]
    found = {
        "machine": facts(),
        "seed": args.seed,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "attacks": storm.done,
        "statuses_by_kind": {name: dict(sorted(count.items())) for name, count in sorted(storm.by_kind.items())},
        "slowest_s_by_kind": {name: round(value, 2) for name, value in sorted(storm.slowest.items())},
        "client": summary,
        "silence_s": round(live.worst, 3),
        "memory_mb_fresh_most_after": [round(fresh), round(most), round(left)],
        "cpu_seconds": round(used, 1),
        "broken": broken,
    }
    results = script.read(args.out, {})
    results["storm"] = found
    script.write(args.out, results)
    print(json.dumps(found, indent=1))
    if broken:
        raise SystemExit("; ".join(broken))


if __name__ == "__main__":
    main()
