"""This service, with the bound on waiting that its documentation advises for a bound on latency."""

import sys
from typing import Any

from benchmarks.peers.measure import BOUND_MS
from benchmarks.peers.rival import ANY_FORM, POSITIVE, Rival

WAIT = BOUND_MS / 2000  # s: what remains of the bound is for the request itself


def _read(answer: Any) -> list[float]:
    return [next(float(e["score"]) for e in row if e["label"] == POSITIVE) for row in answer["results"]]


RIVAL = Rival(
    name="pgb-serve",
    package="",
    version="this checkout",
    requirements=(),
    forms=ANY_FORM,
    settings={
        "--log-level warning": "as the others",
        f"--max-queue-seconds {WAIT:g}": "an answer after the bound helps nobody; see docs/settings.md",
    },
    command=lambda place: (
        sys.executable,
        "-P",
        "-m",
        "service",
        f"clf={place.artifact}",
        "--form",
        place.form,
        "--port",
        str(place.port),
        "--log-level",
        "warning",
        "--max-queue-seconds",
        f"{WAIT:g}",
    ),
    path="/v1/classify",
    ready="/health",
    body=lambda texts: {"inputs": list(texts)},
    read=_read,
)
