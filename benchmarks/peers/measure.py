"""One contender: is it right, how much does it do within the bound, and what becomes of it when things go wrong."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peers import faults
from benchmarks.peers.faults import Asked
from benchmarks.peers.generator import Counts
from benchmarks.peers.highest import highest
from benchmarks.peers.lengths import Lengths
from benchmarks.peers.rival import Rival
from benchmarks.peers.serving import Running, facts, serving
from benchmarks.service.harness import GENERATOR, pinned

BOUND_MS = 100.0  # more than twice what the largest request alone takes with the dense model
SHARE_IN_TIME = 0.99  # of the requests that were due: p99 within the bound, and nothing refused instead
SHARES = (0.5, 0.8)
CHECKED = 200  # requests whose answers are compared with those of the reference
_AT_ONCE = 16
_SAME_LABELS = 0.95  # of the answers; forms in low precision lose less than that
_CLOSED_SECONDS = 3.0


class WrongAnswersError(Exception):
    """A server that answers other than its form may."""


@dataclass(frozen=True)
class Contender:
    """A server with a model. name: in the results. keep: share of the encoder's weights."""

    name: str
    rival: Rival
    keep: float
    form: str
    artifact: Path
    python: Path


@dataclass(frozen=True)
class Questions:
    """What is asked. expected: by text, the probability of the positive label that the form gives by itself."""

    rows: Sequence[str]
    texts: Sequence[Sequence[str]]


def measure(
    contender: Contender,
    questions: Questions,
    reference: dict[str, float],
    lengths: Lengths,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """All figures of one. Raises DidNotStartError and WrongAnswersError."""
    begun = time.perf_counter()
    with (
        pinned(GENERATOR),  # what asks is not to take from what answers
        tempfile.TemporaryDirectory(prefix="peers-bodies-") as folder,
        serving(contender.rival, contender.python, contender.artifact, contender.form) as running,
    ):
        found: dict[str, Any] = {"form": contender.form, "keep": contender.keep, **facts(running)}
        found["answers"] = right(compared(answers(running, questions.texts[:CHECKED]), reference))
        tell(f"ready after {found['ready_seconds']} s; {found['answers']}")
        bodies = Path(folder) / "bodies.json"
        bodies.write_text(json.dumps([json.dumps(contender.rival.body(texts)) for texts in questions.texts]), "utf-8")
        asked = Asked(running, bodies, questions.rows, BOUND_MS, lengths, 1.0)
        closed = asked.load(0.0, _CLOSED_SECONDS).wait()
        found["closed_per_second"] = round(closed.within / _CLOSED_SECONDS, 1)
        rate, found["probes"] = _highest(asked, closed)
        found["highest_per_second"] = round(rate, 1)
        tell(f"holds {rate:.0f} requests a second")
        asked = replace(asked, rate=rate or lengths.floor)
        if asked.rate:
            found["steady"] = {f"{share:g}": asked.load(share, lengths.steady).wait().record() for share in SHARES}
            for fault in (faults.departed, faults.costly, faults.twice, faults.malformed):
                found[fault.__name__] = fault(asked)
                tell(fault.__name__)
            found |= {f"{name}_after": value for name, value in facts(running).items() if name.endswith("_mb")}
            if found["malformed"]["answers_after"]:
                found["stopped"] = faults.stopped(asked)
            else:  # what a wrong body has ended is started again, to be stopped under load
                with serving(contender.rival, contender.python, contender.artifact, contender.form) as again:
                    found["stopped"] = faults.stopped(replace(asked, running=again))
    found["seconds"] = round(time.perf_counter() - begun)
    return found


def answers(running: Running, texts: Sequence[Sequence[str]]) -> dict[str, float]:
    """By text, asked by many clients at once. Raises WrongAnswersError."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            rows = list(pool.map(running.ask, texts))
        except ValueError as error:
            raise WrongAnswersError(str(error)) from error
    if any(len(row) != len(asked) for row, asked in zip(rows, texts, strict=True)):
        raise WrongAnswersError("an answer has fewer or more rows than texts were sent")
    return {text: score for row, asked in zip(rows, texts, strict=True) for text, score in zip(asked, row, strict=True)}


def compared(found: dict[str, float], reference: dict[str, float]) -> dict[str, Any]:
    """How many labels are the reference's, and the largest difference of a probability."""
    same = sum((score > 0.5) == (reference[text] > 0.5) for text, score in found.items())
    largest = max(abs(score - reference[text]) for text, score in found.items())
    return {"texts": len(found), "same_label": same, "largest_difference": round(largest, 4)}


def right(found: dict[str, Any]) -> dict[str, Any]:
    """The same. Raises WrongAnswersError when fewer labels are the reference's than a form may lose."""
    if found["same_label"] < _SAME_LABELS * found["texts"]:
        raise WrongAnswersError(f"{found['same_label']} of {found['texts']} labels are those of the reference")
    return found


def _highest(asked: Asked, closed: Counts) -> tuple[float, list[dict[str, Any]]]:
    """The highest rate that holds, and every run of the search."""
    probes = []

    def held(rate: float) -> bool:
        counts = asked.load(rate, asked.lengths.probe).wait()
        enough = counts.share_in_time >= SHARE_IN_TIME
        share = round(counts.share_in_time, 4)
        probes.append({"rate": counts.rate, "p99": counts.p99, "in_time": share, "held": enough})
        return enough

    def holds(rate: float) -> bool:
        """In one of two runs: what else the machine does can spoil one."""
        return held(rate) or held(rate)

    guess = max(1.0, 0.9 * closed.within / closed.seconds)
    return highest(holds, guess, asked.lengths.tries), probes
