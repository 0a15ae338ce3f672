"""Each costly request alone on an idle server: status, CPU seconds, memory, and the longest silence of liveness.

The model's own run is not a cost of the request: it has one thread, and its seconds are taken off. Its memory is taken
before, by batches as large as they may be.
The server is started anew when an attack left more than 100 MB behind, or ended it.

    python -m benchmarks.attack.costs CLASSIFIER QA RANKS ENTAILS [--service FOLDER] [--only WORDS]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.attack.requests import Attack, listed, paired, warm_up
from benchmarks.attack.watch import Liveness, send
from benchmarks.service.process import cpu_seconds, forget_most, free_port, memory_mb
from pgb_core.machine import facts

MEMORY = 20 << 30  # bytes that the server may have: past it, it fails and not the machine
PATIENCE = 60.0  # seconds in which an answer must come
OUT = Path("benchmarks/results/attack.json")
MODELS = ("sentiment", "answers", "ranks", "topics")


def start(folder: Path, models: list[Path], port: int, *more: str) -> subprocess.Popen[bytes]:
    """A server of the code in a folder, ready."""
    named = [f"{name}={path.resolve()}" for name, path in zip(MODELS, models, strict=False)]
    command = [
        sys.executable,
        "-m",
        "service",
        *named,
        "--port",
        str(port),
        "--log-level",
        "error",
        "--threads",
        "1",
        *more,
    ]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
        except OSError:
            time.sleep(0.1)
    else:
        raise SystemExit("the server did not start")
    for attack in warm_up(*MODELS[:2]):
        send(port, attack)
    return process


def model_seconds(port: int) -> float:
    """Seconds in which the models ran, as the server counts them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/stats", timeout=5) as reply:
        stats = json.load(reply)["model_stats"]
    return sum(int(batch["compute_infer"]["ns"]) for model in stats for batch in model["batch_stats"]) / 1e9


def probing(port: int, process: subprocess.Popen[bytes]) -> float:
    """CPU seconds a second that asking for liveness costs a server that has nothing else to do."""
    cpu, begun = cpu_seconds(process.pid), time.monotonic()
    with Liveness(port):
        time.sleep(4)
    return (cpu_seconds(process.pid) - cpu) / (time.monotonic() - begun)


def measured(port: int, process: subprocess.Popen[bytes], attack: Attack, probes: float) -> dict[str, Any]:
    """One attack on a server that has nothing else to do."""
    forget_most(process.pid)
    memory, ran, cpu = memory_mb(process.pid, "VmRSS"), model_seconds(port), cpu_seconds(process.pid)
    begun = time.monotonic()
    with Liveness(port, patience=PATIENCE) as live:
        statuses = send(port, attack, PATIENCE)
        taken = time.monotonic() - begun
        time.sleep(0.3)
    most = memory_mb(process.pid) - memory
    if process.poll() is not None:
        return {"status": "the process ended", "seconds": round(taken, 2), "silence_s": round(live.worst, 3)}
    spent = cpu_seconds(process.pid) - cpu - probes * taken
    with suppress(OSError):  # it may not even say that
        spent -= model_seconds(port) - ran
    count = Counter(map(str, statuses))
    return {
        "status": ", ".join(f"{n} x {status}" if n > 1 else status for status, n in count.items()) or "none",
        "seconds": round(taken, 2),
        "cpu_s": round(max(0.0, spent), 2),
        "memory_mb": round(most),
        "silence_s": round(live.worst, 3),
    }


def main() -> None:
    """Every attack, or those whose name has the words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs=4, type=Path)
    parser.add_argument("--service", type=Path, default=Path(), help="folder of the code that is served")
    parser.add_argument("--only", default="")
    parser.add_argument("--part", default="after", help="name of the part of the result file")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    port = free_port()
    process = start(args.service, args.models, port)
    fresh, probes = memory_mb(process.pid, "VmRSS"), probing(port, process)
    try:
        for attack in [*listed(*MODELS[:2]), *paired(*MODELS[2:])]:
            if args.only not in attack.name:
                continue
            found[attack.name] = measured(port, process, attack, probes)
            print(f"{attack.name:48} {found[attack.name]}", flush=True)
            ended = process.poll() is not None
            if ended or memory_mb(process.pid, "VmRSS") > fresh + 100 or found[attack.name]["silence_s"] > 5:
                process.kill()
                process.wait()
                process = start(args.service, args.models, port)
    finally:
        process.kill()
        process.wait()
    results = script.read(args.out, {})
    results.setdefault("costs", {})[args.part] = {"machine": facts(), "requests": found}
    script.write(args.out, results)


if __name__ == "__main__":
    main()
