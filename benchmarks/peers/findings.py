"""What the figures say: a row for each contender, and a computed sentence where a rival is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pgb_core.charts import DASH, number, percent

Figures = Mapping[str, Any]
OURS = "pgb-serve"


def measured(figures: Figures) -> dict[str, Figures]:
    """Contenders that have a highest rate, the one with the highest first."""
    found = {name: one for name, one in figures["contenders"].items() if "highest_per_second" in one}
    return dict(sorted(found.items(), key=lambda item: -float(item[1]["highest_per_second"])))


def failed(figures: Figures) -> dict[str, str]:
    """By name: why there are no figures, in a line."""
    told = {name: one["failed"].strip().splitlines() for name, one in figures["contenders"].items() if "failed" in one}
    return {name: f"{lines[0]} … {lines[-1]}" if len(lines) > 1 else lines[0] for name, lines in told.items()}


def speed_rows(figures: Figures) -> tuple[list[str], list[list[str]]]:
    """Heads, and a row for each: rates, latencies, memory and start."""
    heads = ["server", "form", "highest rate, requests/s", "p50 and p99 at 50%, ms", "at 80%, ms"]
    heads += ["memory, MB", "ready, s"]
    rows = []
    for name, one in measured(figures).items():
        steady = one.get("steady", {})
        pairs = [
            f"{number(run['p50'])}, {number(run['p99'])}" for run in (steady.get(s) for s in ("0.5", "0.8")) if run
        ]
        pairs += [DASH] * (2 - len(pairs))
        memory = number(one["rss_mb_after"]) if "rss_mb_after" in one else number(one["rss_mb"])
        rows.append([name, f"`{one['form']}`", number(one["highest_per_second"]), *pairs, memory])
        rows[-1].append(f"{one['ready_seconds']:.1f}")
    return heads, rows


def fault_rows(figures: Figures) -> tuple[list[str], list[list[str]]]:
    """Heads, and a row for each: what became of it when things went wrong."""
    heads = ["server", "work done for clients that left", "others in time beside a costly request"]
    heads += ["in time at twice the load", "refused, with Retry-After", "wrong bodies refused as such", "echoed"]
    heads += ["lost at SIGTERM", "readiness meanwhile", "left behind"]
    rows = []
    for name, one in measured(figures).items():
        if "twice" not in one:
            continue
        bodies = one["malformed"]["bodies"].values()
        clear = f"{sum(body['clear'] for body in bodies)} of {len(bodies)}"
        clear += "" if one["malformed"]["answers_after"] else ", then no answers"
        twice, stopped = one["twice"], one["stopped"]
        refused = f"{number(twice['refused'])}, {number(twice['refused_with_retry_after'])}"
        row = [name, share_of(one["departed"]["spent_share"]), share_of(one["costly"]["others_in_time"])]
        row += [share_of(goodput(one)), refused, clear, str(sum(body["echoes"] for body in bodies))]
        row += [DASH] * 3 if stopped is None else [str(stopped["lost"]), stopped["ready_said"], _left(stopped)]
        rows.append(row)
    return heads, rows


def goodput(one: Figures) -> float | None:
    """Answers within the bound at twice the load, as a share of the highest rate; None when that is not known."""
    twice, rate = one.get("twice"), one["highest_per_second"]
    return twice["in_time"] / twice["seconds"] / rate if twice and rate else None


def share_of(value: float | None) -> str:
    """In hundredths; a dash for what is not known."""
    return DASH if value is None else percent(value)


def better(figures: Figures) -> list[str]:
    """A sentence for each figure in which a rival is better than this service with the same dense model."""
    found = measured(figures)
    ours = found.pop(OURS, None)
    rivals = {name: one for name, one in found.items() if not name.startswith(OURS)}
    if ours is None or not rivals:
        return []
    told = []
    for what, unit, most, value in _COMPARED:
        own = value(ours)
        known = {name: theirs for name, one in rivals.items() if (theirs := value(one)) is not None}
        ahead = {
            n: theirs for n, theirs in known.items() if own is not None and (theirs > own if most else theirs < own)
        }
        if ahead:
            order = sorted(ahead.items(), key=lambda item: -item[1] if most else item[1])
            each = ", ".join(f"{name} {_said(theirs)}{unit}" for name, theirs in order)
            told.append(f"{what}: {each}; {OURS} {_said(own)}{unit}.")
    return told


def _said(value: float | None) -> str:
    """A count as it is, and any other number to the digits that tell something."""
    return f"{value:,}" if isinstance(value, int) else number(value)


def _steady(share: str, part: str) -> Callable[[Figures], float | None]:
    return lambda one: one.get("steady", {}).get(share, {}).get(part)


def _wrong(one: Figures) -> float | None:
    """Wrong bodies that were not refused as such, or came back."""
    bodies = one.get("malformed", {}).get("bodies")
    return None if bodies is None else sum(not body["clear"] or body["echoes"] for body in bodies.values())


def _lost(one: Figures) -> float | None:
    stopped = one.get("stopped")
    return None if stopped is None else stopped["lost"]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


# What is compared: words, unit, whether more is better, and the value.
_COMPARED: Sequence[tuple[str, str, bool, Callable[[Figures], float | None]]] = (
    ("Highest rate", " requests/s", True, lambda one: one["highest_per_second"]),
    ("p50 at half of the own highest rate", " ms", False, _steady("0.5", "p50")),
    ("p99 at half of the own highest rate", " ms", False, _steady("0.5", "p99")),
    ("p99 at 80% of the own highest rate", " ms", False, _steady("0.8", "p99")),
    ("Memory before the runs", " MB", False, lambda one: one["rss_mb"]),
    ("Start to the first answer", " s", False, lambda one: one["ready_seconds"]),
    ("Work done for clients that left", "%", False, lambda one: _percent(one.get("departed", {}).get("spent_share"))),
    (
        "Others in time beside a costly request",
        "%",
        True,
        lambda one: _percent(one.get("costly", {}).get("others_in_time")),
    ),
    ("In time at twice the load, of the highest rate", "%", True, lambda one: _percent(goodput(one))),
    ("Wrong bodies that are not refused as such, or come back", "", False, _wrong),
    ("Requests lost at SIGTERM", "", False, _lost),
)


def _left(stopped: Figures) -> str:
    if not stopped["processes_left"]:
        return "nothing" if stopped["exit_seconds"] is not None else "itself"
    return f"{stopped['processes_left']} processes" + (", answering" if stopped["left_still_answer"] else "")
