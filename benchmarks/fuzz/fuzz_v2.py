"""Byte-level mutations of v2 requests: many at the parser, some thousands at a server over a real socket.

The parser may raise its three errors and nothing else, and what it lets through agrees with its header. The server
may answer 200, 400, 413 or 504 and nothing else, in the shape of the dialect, without repeating what was sent. Of
both the slowest is noted, and the memory that the run left behind.

    python -m benchmarks.fuzz.fuzz_v2 ARTIFACT      a classification model
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.fuzz.figures import sorted_counts, write
from benchmarks.fuzz.mutants import MARK, Request, mutants
from benchmarks.service.harness import server
from pgb_core.artifact import open_artifact
from service.dialects.v2 import codec
from service.errors import InvalidInput, Malformed, ServiceError, TooLarge

ITEMS = 128
ALLOWED = (200, 400, 413, 504)
_SLOW = 1.0


def parse(request: Request) -> str:
    """How the parser took it: ok or the name of its error. Raises AssertionError when it broke its word."""
    try:
        asked = codec.parse(request.body, request.length, ITEMS)
    except ServiceError as error:
        if type(error) not in (InvalidInput, Malformed, TooLarge):
            raise AssertionError(f"raised {error!r}") from error
        if MARK in str(error):
            raise AssertionError("an error repeats the input") from error
        return type(error).__name__
    except BaseException as error:
        raise AssertionError(f"raised {error!r}") from error
    for given in asked.header.inputs:
        texts = asked.texts[given.name]
        if len(texts) != given.shape[0] or not all(isinstance(text, str) for text in texts):
            raise AssertionError("texts that the shape does not say")
        "".join(texts).encode()
    if sum(len(text) for texts in asked.texts.values() for text in texts) > len(request.body):
        raise AssertionError("more text than was sent")
    return "ok"


def at_the_parser(cases: int, seed: int) -> dict[str, Any]:
    """In this process."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest = 0.0
    for request in itertools.islice(mutants(seed), 1_000):
        parse(request)  # what is made once
    before = _peak_mb()
    begun = time.perf_counter()
    for request in itertools.islice(mutants(seed), cases):
        start = time.perf_counter()
        try:
            outcomes[parse(request)] += 1
        except AssertionError as error:
            failures.append(f"{error}: {request!r}"[:2_000])
        slowest = max(slowest, time.perf_counter() - start)
    return {
        "cases": cases,
        "outcomes": sorted_counts(outcomes),
        "seconds": round(time.perf_counter() - begun, 1),
        "slowest_ms": round(1e3 * slowest, 2),
        "peak_memory_grew_mb": round(_peak_mb() - before, 1),
        "failures": failures,
    }


def over_a_socket(artifact: Path, cases: int, seed: int) -> dict[str, Any]:
    """At a server process that serves the artifact, one connection for as long as it holds."""
    name = open_artifact(artifact).manifest.name
    statuses: Counter[int] = Counter()
    failures: list[str] = []
    slowest = 0.0
    with server(str(artifact)) as found:
        address = found.url.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=30)
        begun, before = time.perf_counter(), found.rss_mb()
        for request in itertools.islice(mutants(seed), cases):
            headers = {"content-type": "application/octet-stream"}
            if request.length is not None:
                headers["inference-header-content-length"] = request.length
            start = time.perf_counter()
            try:
                connection.request("POST", f"/v2/models/{name}/infer", request.body, headers)
                reply = connection.getresponse()
                body = reply.read()
            except (http.client.HTTPException, OSError) as error:
                failures.append(f"{error!r}: {request!r}"[:2_000])
                connection.close()
                continue
            slowest = max(slowest, time.perf_counter() - start)
            statuses[reply.status] += 1
            wrong = _wrong(reply.status, body, str(reply.headers))
            if wrong:
                failures.append(f"{wrong}: {request!r}"[:2_000])
        seconds, grew = time.perf_counter() - begun, found.rss_mb() - before
        alive = found.get("/health")[0]
        connection.close()
    return {
        "cases": cases,
        "statuses": sorted_counts(statuses),
        "seconds": round(seconds, 1),
        "slowest_ms": round(1e3 * slowest, 2),
        "memory_grew_mb": round(grew, 1),
        "health_afterwards": alive,
        "failures": failures,
    }


def _wrong(status: int, body: bytes, headers: str) -> str | None:
    """What is wrong with an answer."""
    if status not in ALLOWED:
        return f"status {status}"
    if status == 200:
        return None
    if MARK.encode() in body or MARK in headers:
        return "the answer repeats the input"
    return None if set(json.loads(body)) == {"error"} else "not an error of this dialect"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Both runs; status 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--cases", type=int, default=2_000_000, help="at the parser")
    parser.add_argument("--requests", type=int, default=20_000, help="over a socket")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    figures = {
        "seed": args.seed,
        "parser": at_the_parser(args.cases, args.seed),
        "socket": over_a_socket(args.artifact, args.requests, args.seed + 1),
    }
    print(json.dumps(figures, indent=1))
    write("v2_bytes", figures)
    slow = max(figures["parser"]["slowest_ms"], figures["socket"]["slowest_ms"]) > 1e3 * _SLOW
    raise SystemExit(bool(figures["parser"]["failures"] or figures["socket"]["failures"] or slow))


if __name__ == "__main__":
    main()
