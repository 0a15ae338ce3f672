"""This service, with its defaults."""

import sys
from typing import Any

from benchmarks.peers.rival import ANY_FORM, POSITIVE, Rival


def _read(answer: Any) -> list[float]:
    return [next(float(e["score"]) for e in row if e["label"] == POSITIVE) for row in answer["results"]]


RIVAL = Rival(
    name="pgb-serve",
    package="",
    version="this checkout",
    requirements=(),
    forms=ANY_FORM,
    settings={"--log-level warning": "as the others"},
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
    ),
    path="/v1/classify",
    ready="/health",
    body=lambda texts: {"inputs": list(texts)},
    read=_read,
)
