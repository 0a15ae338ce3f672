"""The images and the stack, with a real engine: sizes, start, memory, stop under load, recovery, first answer.

    python -m benchmarks.containers ARTIFACT [--wheels FOLDER] [--stack]

ARTIFACT is a classifier. The service is confined as in the compose file, with 512 MB. --stack also takes the
compose file from nothing but base images to its first answer: both images built without a cache, the built-in
models compressed, the service started, Prometheus scraping it. --wheels names a folder with the locked torch
wheel, for machines that reach no index of PyTorch's.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.engine import SERVED, Clients, Container, EngineError, container, docker, stand_in
from pgb_core.machine import facts

IMAGE = "pgb-serve:0.2.0"
MEMORY = ("--memory=512m", "--memory-swap=512m")
# As in the compose file.
BODIES = ("--env=PGB_MAX_BODY_BYTES=1048576", "--env=PGB_MAX_PENDING_BYTES=4194304")
KILL = SERVED + "os.kill(int(served.name), signal.SIGKILL)"
# One request that a machine with room would run as one batch, and half a gigabyte does not hold.
TOO_LARGE = {"inputs": ["many words " * 120] * 128}
UNBOUNDED = ("--env=PGB_MAX_BATCH_TOKENS=1000000", "--env=PGB_MAX_QUEUE_SECONDS=600")
MIB = {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024, "B": 1 / 1024**2}
TEXTS = {"inputs": ["A warm film, and a funny one, that never outstays its welcome."] * 8}


def start(artifact: Path, rounds: int) -> dict[str, float]:
    """Seconds from `docker run` to ready, and from there to the first answer."""
    ready, answer = [], []
    for _ in range(rounds):
        with container(IMAGE, {"model": artifact}, *MEMORY) as started:
            ready.append(started.ready())
            begun = time.monotonic()
            started.ask("/v1/classify", TEXTS)
            answer.append(time.monotonic() - begun)
    return {"ready": round(statistics.median(ready), 2), "first_answer": round(statistics.median(answer), 4)}


def memory(artifact: Path, words: int, seconds: float) -> dict[str, Any]:
    """Megabytes of the process after its start, and at most while many clients send 128 texts of that many words."""
    body = {"inputs": ["many words " * (words // 2)] * 128}
    with container(IMAGE, {"model": artifact}, *MEMORY, *BODIES) as started:
        started.ready()
        idle, _ = used(started)
        with Clients(started, 48, "/v1/classify", body) as clients:
            time.sleep(seconds)
        _, most = used(started)
        return {
            "body_kb": round(len(json.dumps(body)) / 1000, 1),
            "resident_mb_after_start": idle,
            "resident_mb_at_most": most,
            "got": dict(clients.got),
            "killed_for_memory": started.inspect()["State"]["OOMKilled"],
        }


def used(started: Container) -> tuple[float, float]:
    """Resident megabytes of the process that serves: now, and at most so far."""
    found = started.python(SERVED + "print((served / 'status').read_text())")
    fields = dict(line.split(":", 1) for line in found.splitlines())
    return tuple(round(int(fields[name].split()[0]) / 1024, 1) for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def stop_under_load(artifact: Path) -> dict[str, Any]:
    """SIGTERM to a saturated container with its default drain: how it ends, and what its clients saw."""
    with container(IMAGE, {"model": artifact}, *MEMORY) as started:
        started.ready()
        with Clients(started, 16, "/v1/classify", TEXTS) as clients:
            time.sleep(3)
            before = clients.got["200"]
            begun = time.monotonic()
            docker("stop", "--time=45", started.name)
            taken = time.monotonic() - begun
        return {
            "clients": 16,
            "seconds": round(taken, 2),
            "grace": 45,
            "exit_code": started.inspect()["State"]["ExitCode"],
            "answered_before": before,
            "answered_after_signal": clients.got["200"] - before,
            "lost": sum(count for what, count in clients.got.items() if what not in ("200", "refused")),
        }


def recovery(artifact: Path, cause: str) -> dict[str, Any]:
    """Seconds from the end of the process to the next answer, by the restart policy alone."""
    options = (*MEMORY, "--restart=unless-stopped", *(UNBOUNDED if cause == "memory" else ()))
    with container(IMAGE, {"model": artifact}, *options) as started:
        started.ready()
        since = time.time()
        if cause == "memory":
            with suppress(OSError):  # the connection ends with the process
                started.ask("/v1/classify", TOO_LARGE, timeout=120)
        else:
            started.python(KILL)
        begun = time.monotonic()
        started.wait("{{.RestartCount}}", "1")
        started.ready()
        status, _ = started.ask("/v1/classify", TEXTS)
        taken = time.monotonic() - begun
        events = docker(
            "events", f"--since={since}", f"--until={time.time()}", f"--filter=container={started.name}",
            "--format={{.Action}}",
        )  # fmt: skip
        return {
            "seconds_to_answer": round(taken, 2),
            "status": status,
            "events": [event for event in events.splitlines() if event in ("oom", "die", "start")],
        }


def stack(wheels: Path | None) -> dict[str, Any]:
    """Seconds of every step from nothing but base images to the first answer, and to the first scrape."""
    with tempfile.TemporaryDirectory() as folder:
        override = Path(folder) / "override.yml"
        build = {"build": {"additional_contexts": {"wheels": str(wheels)}}} if wheels else {}
        override.write_text(json.dumps({"services": {"job": build}}))
        env = {"SERVICE_PORT": "18080", "PROMETHEUS_PORT": "19090", "PROMETHEUS_IMAGE": stand_in("prometheus")}
        env |= {"TORCH_BACKEND": ""} if wheels else {}

        def compose(*args: str) -> str:
            files = ("-f", "docker-compose.yml", "-f", str(override))
            return docker("compose", "-p", "pgb-figures", *files, *args, env=env, timeout=3000)

        steps = {}
        try:
            for name, command in (
                ("build_job_image", ("build", "--no-cache", "job")),
                ("build_serving_image", ("build", "--no-cache", "service")),
            ):
                begun = time.monotonic()
                compose(*command)
                steps[name] = round(time.monotonic() - begun, 1)
            begun = time.monotonic()
            with _watched("pgb-figures-job-1") as sizes:
                compose("up", "--detach", "--pull=never", "service", "prometheus")
            steps["compress_both_models"] = round(time.monotonic() - begun, 1)
            models = _until("http://127.0.0.1:18080/health")["models"]
            steps["service_ready"] = round(time.monotonic() - begun - steps["compress_both_models"], 1)
            answer = _until("http://127.0.0.1:18080/v1/classify", {"inputs": "A warm, funny film."})
            steps["from_nothing_to_first_answer"] = round(
                time.monotonic() - begun + steps["build_job_image"] + steps["build_serving_image"], 1
            )
            query = urllib.parse.urlencode({"query": "sum(pgb_requests_total) and on() sum(up{job='pgb'}) == 1"})
            until = time.monotonic() + 60
            scraped: list[Any] = []
            while not scraped and time.monotonic() < until:
                scraped = _until(f"http://127.0.0.1:19090/api/v1/query?{query}")["data"]["result"]
                time.sleep(0.2)
            return {
                "seconds": steps,
                "job_mib_at_most": round(max(sizes)),
                "models": [model["name"] for model in models],
                "first_answer": answer["results"][0][0],
                "requests_seen_by_prometheus": scraped[0]["value"][1] if scraped else None,
                "again_with_the_volume_to_ready": _again(compose),
                "job_image_mb": _size("pgb-job:0.2.0"),
            }
        finally:
            compose("down", "--volumes", "--timeout", "1")


@contextmanager
def _watched(name: str) -> Iterator[list[float]]:
    """Memory of a container in MiB, second by second while it runs, without what the kernel can drop."""
    sizes: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            with suppress(EngineError, ValueError):  # it has not begun, or has ended
                used = docker("stats", "--no-stream", "--format={{.MemUsage}}", name).partition("/")[0].strip()
                unit = next((unit for unit in MIB if used.endswith(unit)), "B")
                sizes.append(float(used.removesuffix(unit)) * MIB[unit])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        over.set()
        watcher.join()


def _again(compose: Any) -> float:
    compose("down", "--timeout", "10")
    begun = time.monotonic()
    compose("up", "--detach", "--pull=never", "service")
    _until("http://127.0.0.1:18080/health")
    return round(time.monotonic() - begun, 1)


def _until(url: str, body: Mapping[str, object] | None = None, seconds: float = 120) -> Any:
    data = None if body is None else json.dumps(body).encode()
    until = time.monotonic() + seconds
    while True:
        try:
            request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - our own
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
                return json.load(reply)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _size(image: str) -> float:
    return round(int(docker("image", "inspect", "--format={{.Size}}", image)) / 1e6, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write what was found."""
    parser = script.parser(__doc__, "containers")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--stack", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)

    found = script.read(args.out, {})
    version = docker("version", "--format={{.Server.Version}}")
    found |= {"machine": facts(), "engine": version}
    docker("build", "--tag", IMAGE, ".")
    found["image_mb"] = _size(IMAGE)
    found["start_seconds"] = start(args.artifact, args.rounds)
    found["stop_under_load"] = stop_under_load(args.artifact)
    found["recovery"] = {cause: recovery(args.artifact, cause) for cause in ("kill", "memory")}
    found["flood_in_512_mb"] = [memory(args.artifact, words, 15) for words in (40, 400, 1400)]
    script.write(args.out, found)
    if args.stack:
        found["stack"] = stack(args.wheels)
    script.write(args.out, found)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
