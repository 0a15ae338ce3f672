"""A fleet for a million requests a second, on paper: replicas from the planner, and what grows with them.

    python -m benchmarks.fleet ARTIFACT [--profile FILE]

Replicas follow from the profile, which a quiet machine must have measured. Bytes are counted on one real server. The
time of a key check is measured here.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import script
from benchmarks.capacity import Subject, replica_of, subject_of
from benchmarks.open_load import requests
from benchmarks.service.harness import CORES
from pgb_core.artifact import open_artifact
from service.keys import Keys, make_key
from service.observe import logs
from service.observe.logs import JsonFormatter
from service.observe.metrics import Call, Stamps
from service.planning.arrivals import Drawn
from service.planning.fleet import LEAST_CONNECTIONS, Goal
from service.planning.profile import Profile
from service.planning.search import Conditions, fewest

_REFUSED = 0.001
_KEYS = (10, 1_000, 10_000)
_SCRAPE_SECONDS = 15
_CHECKS = 200
_ASKED = 200  # requests whose bytes are counted
# What is assumed, and printed with the result.
_CORES_OF_A_MACHINE = 64
_SPARE = 0.2  # of the replicas, for machines that fail and for roll-outs
_LINK_GBIT = 10
_BALANCER_REQUESTS = 50_000  # a second, of one balancer process that ends TLS


def fleet(subject: Subject, rate: float, p99: float) -> list[dict[str, Any]]:
    """The fewest replicas of each size."""
    given = Conditions(Drawn(subject.mix, rate), LEAST_CONNECTIONS, 50_000, 0)
    rows = []
    for size in subject.profile.sizes:
        found = fewest(subject.replica(size), given, Goal(p99 / 1e3, _REFUSED))
        row: dict[str, Any] = {"size": size.name, "replicas": None}
        if found is not None:
            row |= {
                "replicas": found.replicas,
                "cores": found.cores,
                "requests_per_second_each": round(rate / found.replicas, 1),
                "p50_ms": round(1e3 * found.outcome.percentile(0.5), 2),
                "p99_ms": round(1e3 * found.outcome.percentile(0.99), 2),
                "model_busy": round(found.outcome.model, 3),
            }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def bytes_of(subject: Subject) -> dict[str, Any]:
    """Bytes of a request, its answer, its line of the log and a scrape; seconds until a server is ready."""
    bodies = requests(list(Drawn(subject.mix, 100.0).load(1.0, _ASKED, 0).arrivals), subject.texts)
    answers: list[int] = []
    begun = time.perf_counter()
    with replica_of(subject, subject.profile.sizes[0]) as (url,):
        ready = time.perf_counter() - begun
        for body in bodies:
            answers.append(_answered(url, "POST", "/v1/classify", body.partition(b"\r\n\r\n")[2]))
        scrape = _answered(url, "GET", "/metrics", None)
    return {
        "request_bytes": round(statistics.mean(map(len, bodies))),
        "answer_bytes": round(statistics.mean(answers)),
        "log_bytes": _line(subject),
        "scrape_bytes": scrape,
        "ready_seconds": round(ready, 2),
        "artifact_bytes": sum(path.stat().st_size for path in subject.artifact.iterdir()),
    }


def _answered(url: str, method: str, path: str, body: bytes | None) -> int:
    """Bytes of the answer, its head included."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request(method, path, body, {"content-type": "application/json"})
    reply = connection.getresponse()
    size = len(reply.read()) + sum(len(name) + len(value) + 4 for name, value in reply.getheaders())
    connection.close()
    return size + len(b"HTTP/1.1 200 OK\r\n\r\n")


def _line(subject: Subject) -> int:
    """Bytes of the line of one request, as the service writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    call = Call("0123456789abcdef0000000000000001", owner="some-team", dialect="native")
    call.model, call.version, call.inputs, call.tokens, call.batch_size = subject.profile.model, "1", 1, 24, 8
    call.stamps = Stamps(0.0, 0.0004, 0.0021, 0.0109, 0.0111)
    logs.LOGGER.handlers = [handler]
    logs.LOGGER.setLevel("INFO")
    logs.request(call, "POST", "/v1/classify", 200, False)
    return len(stream.getvalue().encode())


def key_checks() -> dict[str, float]:
    """Microseconds of a check by the number of keys: each is compared, so that the time tells nothing."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in _KEYS:
            path = Path(folder) / str(count)
            secret = make_key(path, "first", "use")
            path.write_text(path.read_text() + "".join(f"k{n} use {n:064x}\n" for n in range(count - 1)))
            keys = Keys(path)
            times = list(_timed(keys, secret))
            found[f"{count}"] = round(1e6 * statistics.median(times), 1)
    return found


def _timed(keys: Keys, secret: str) -> Iterator[float]:
    for _ in range(_CHECKS):
        begun = time.perf_counter()
        keys.check(secret, "use")
        yield time.perf_counter() - begun


def grown(rate: float, best: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    """What the fleet as a whole takes."""
    replicas = math.ceil(best["replicas"] * (1 + _SPARE))
    cores = math.ceil(best["cores"] * (1 + _SPARE))
    wire = rate * (sizes["request_bytes"] + sizes["answer_bytes"])
    return {
        "replicas": replicas,
        "cores": cores,
        "machines": math.ceil(cores / _CORES_OF_A_MACHINE),
        "network_gbit": round(8 * wire / 1e9, 2),
        "network_gbit_of_a_machine": round(8 * wire / 1e9 / math.ceil(cores / _CORES_OF_A_MACHINE), 3),
        "balancers": math.ceil(rate / _BALANCER_REQUESTS),
        "open_requests": round(rate * best["p50_ms"] / 1e3),
        "log_megabytes_a_second": round(rate * sizes["log_bytes"] / 1e6),
        "log_terabytes_a_day": round(rate * sizes["log_bytes"] * 86_400 / 1e12, 1),
        "scrape_megabytes_a_second": round(replicas * sizes["scrape_bytes"] / _SCRAPE_SECONDS / 1e6, 2),
        "rollout_one_by_one_minutes": round(replicas * sizes["ready_seconds"] / 60, 1),
        "artifact_gigabytes_in_all": round(replicas * sizes["artifact_bytes"] / 1e9, 1),
        "artifact_seconds_from_one_link": round(8 * replicas * sizes["artifact_bytes"] / (_LINK_GBIT * 1e9)),
    }


def main() -> None:
    """Plan, count, and write."""
    parser = script.parser(__doc__, "fleet")
    parser.add_argument("artifact", type=Path)
    parser.add_argument(
        "--profile", type=Path, help="times that `pgb plan-capacity --profile` wrote; else measured now"
    )
    parser.add_argument("--rate", type=float, default=1e6, help="requests a second, of one text each")
    parser.add_argument("--p99", type=float, default=50.0, help="milliseconds")
    args = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    cores = len(CORES)
    sizes: Sequence[tuple[int, int]] = list(dict.fromkeys([(1, 1), (1, cores), (cores, 1)]))
    profile = None if args.profile is None else Profile.read(args.profile)
    if profile is not None and profile.digest != open_artifact(args.artifact).digest:
        raise SystemExit(f"{args.profile}: is of another artifact")
    subject = subject_of(args.artifact, sizes, 1, profile)
    rows = fleet(subject, args.rate, args.p99)
    known = [row for row in rows if row["replicas"] is not None]
    if not known:
        raise SystemExit(f"no number of replicas holds a p99 of {args.p99:g} ms")
    counted = bytes_of(subject)
    best = min(known, key=lambda row: int(row["cores"]))
    result = {
        "machine": subject.profile.machine,
        "busy": subject.profile.busy,
        "model": subject.profile.model,
        "form": subject.profile.form,
        "weights_kept": subject.profile.weights_kept,
        "requests_per_second": args.rate,
        "p99_ms": args.p99,
        "assumed": {
            "cores_of_a_machine": _CORES_OF_A_MACHINE,
            "spare": _SPARE,
            "link_gbit": _LINK_GBIT,
            "requests_per_second_of_a_balancer": _BALANCER_REQUESTS,
            "scrape_seconds": _SCRAPE_SECONDS,
        },
        "sizes": rows,
        "one": {**counted, "key_check_microseconds": key_checks()},
        "best": best["size"],
        "all": grown(args.rate, best, counted),
    }
    script.write(args.out, result)
    print(json.dumps({"one": result["one"], "all": result["all"]}, indent=1))
    print(f"{args.out}: written")


if __name__ == "__main__":
    main()
