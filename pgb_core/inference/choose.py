"""Chooses the form to run here: the fastest one that gives right answers and loses no more than allowed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pgb_core.artifact import Artifact, FormRecord
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Runtime
from pgb_core.inference.runtimes.registry import RUNTIMES, devices, open_runtime, usual_runtime
from pgb_core.inference.runtimes.selfcheck import known_ids, self_check
from pgb_core.inference.runtimes.timing import filler, lengths, seconds
from pgb_core.inference.tokens import Tokens

AUTO = "auto"
LEAST_EQUAL = 0.99  # share of answers, where no labelled row says what is lost
LEAST_ALIKE = 0.8  # share of numbers, where one says it: no correlation tells of a wrong scale
MOST_THREADS = 1024
SECONDS, LEAST_RUNS = 0.15, 3  # of each form and length


@dataclass(frozen=True)
class Asked:
    """form: a name, or auto. device: cpu, cuda or auto. runtime: a name, or auto for the form's usual one.

    most_drop: points of the task's metric that a form that is chosen may lose. threads: 0 takes all usable cores.
    """

    form: str = AUTO
    device: str = "cpu"
    runtime: str = AUTO
    threads: int = 0
    most_drop: float = 0.5


@dataclass(frozen=True)
class Chosen:
    """A form, opened and checked. difference: of its logits from those it must give.

    why: in words. milliseconds: of every form that was timed, one short input and one long one.
    """

    form: str
    kind: str
    runtime: Runtime
    difference: float
    why: str
    milliseconds: Mapping[str, tuple[float, float]]


def choose(artifact: Artifact, asked: Asked, opened: Callable[[Runtime], None] = lambda _: None) -> Chosen:
    """Open the form that is asked for, or the fastest that may be served here.

    At most two forms are open at one time, and idle threads of either do not spin, so that none spoils the timing of
    another. opened: hears of every runtime before it first runs. Raises RuntimeUnavailable when none can be had.
    """
    if type(asked.threads) is not int or not 0 <= asked.threads <= MOST_THREADS:
        raise RuntimeUnavailable(f"threads must be a whole number from 0 to {MOST_THREADS}; 0 takes all usable cores")
    for what, name, known in (("device", asked.device, devices()), ("runtime", asked.runtime, (AUTO, *RUNTIMES))):
        if name not in known:
            raise RuntimeUnavailable(f"there is no {what} {name}; choose one of {', '.join(known)}")
    forms = artifact.manifest.forms
    if asked.form != AUTO:
        found = _open(artifact, asked.form, asked, opened)
        return Chosen(asked.form, found.kind, found.runtime, found.difference, "it was asked for", {})
    numbers = artifact.manifest.activation == "none" or len(artifact.manifest.labels) == 1
    refused = {name: _unfit(record, asked, numbers) for name, record in forms.items()}
    fitting = [name for name, reason in refused.items() if not reason]
    best: _Open | None = None
    times: dict[str, tuple[float, float]] = {}
    for name in fitting:
        try:
            found = _open(artifact, name, asked, opened)
        except RuntimeUnavailable as error:
            refused[name] = str(error).removeprefix(f"{artifact.manifest.name}: ")
            continue
        loser: _Open | None = found
        try:
            if len(fitting) > 1:
                times[name] = _milliseconds(found.runtime, artifact, name)
            if best is None or math.prod(times[name]) < math.prod(times[best.form]):
                best, loser = found, best
        except Exception:  # every runtime raises its own
            refused[name] = "it fails on a long input"
        finally:
            if loser is not None:
                loser.runtime.close()
    if best is None:
        said = "; ".join(f"{name}: {reason}" for name, reason in refused.items() if reason)
        raise RuntimeUnavailable(f"{artifact.manifest.name}: no form can be served here ({said})")
    return Chosen(best.form, best.kind, best.runtime, best.difference, _why(best.form, times, refused), times)


@dataclass(frozen=True)
class _Open:
    form: str
    kind: str
    runtime: Runtime
    difference: float


def _open(artifact: Artifact, form: str, asked: Asked, opened: Callable[[Runtime], None]) -> _Open:
    """Open and check one form. Raises RuntimeUnavailable."""
    wanted = None if asked.runtime == AUTO else asked.runtime
    runtime = open_runtime(artifact, form, asked.device, asked.threads, wanted)
    try:
        opened(runtime)
        difference = self_check(runtime, artifact, form)
    except BaseException:
        with suppress(Exception):
            runtime.close()
        raise
    return _Open(form, wanted or usual_runtime(artifact.manifest.forms[form]), runtime, difference)


def _unfit(record: FormRecord, asked: Asked, numbers: bool) -> str:
    """Why a form is not even tried; empty when it may be. numbers: whether answers are numbers, and no labels."""
    if asked.runtime not in (AUTO, *record.runtimes):
        return f"it is not for runtime {asked.runtime}"
    if asked.device not in (AUTO, *record.devices):
        return f"it is not for device {asked.device}"
    if not record.ran:
        return "it has run nowhere yet; name it to serve it"
    drop, equal = record.measured.get("drop"), record.measured.get("equal_answers")
    if drop is not None and drop > asked.most_drop:
        return f"it loses {drop:.2f} points, more than {asked.most_drop:g}"
    if drop is not None and numbers and equal is not None and equal < LEAST_ALIKE:
        return f"only {equal:.1%} of its numbers are near those of fp32, which its correlation does not show"
    if drop is None and equal is not None and equal < LEAST_EQUAL:
        return f"only {equal:.1%} of its answers are those of fp32, and no labelled rows say what that costs"
    return ""


def _milliseconds(runtime: Runtime, artifact: Artifact, form: str) -> tuple[float, float]:
    """The best run of a short input and of a long one."""
    token = known_ids(artifact, form)[0]
    short, long = (_best(runtime, [filler(token, size)]) for size in lengths(artifact.manifest.max_length))
    return short, long


def _best(runtime: Runtime, batch: Sequence[Tokens]) -> float:
    runtime.run(batch)
    best, end, runs = math.inf, time.perf_counter() + SECONDS, 0
    while runs < LEAST_RUNS or time.perf_counter() < end:
        best = min(best, seconds(runtime, batch))
        runs += 1
    return 1e3 * best


def _why(form: str, times: Mapping[str, tuple[float, float]], refused: Mapping[str, str]) -> str:
    said = [
        f"{name} {short:.2f} and {long:.2f} ms" for name, (short, long) in sorted(times.items(), key=lambda i: i[1][0])
    ]
    left_out = [f"{name}: {reason}" for name, reason in refused.items() if reason]
    reasons = [f"the fastest of {len(times)} (a short and a long text: {', '.join(said)})"] if times else []
    if not times:
        reasons = [f"{form} is the only one that fits"]
    if left_out:
        reasons.append(f"left out: {'; '.join(left_out)}")
    return ". ".join(reasons)
