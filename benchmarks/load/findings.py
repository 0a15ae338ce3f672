"""What the figures say, one computed sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.load.pictures import full_of, ladder
from pgb_core.charts import number, percent

Figures = Mapping[str, Any]


def capacity(sets: Sequence[Figures], cores: int) -> str:
    """Texts a second of each, and the ratio to the first."""
    known = [found for found in sets if found.get("capacity")]
    if not known:
        return ""
    first = known[0]
    ratio = " : ".join(f"{found['capacity'] / first['capacity']:.1f}" for found in known)
    each = listed([f"{found['name']} answers {number(found['capacity'])}" for found in known])
    names = " : ".join(found["name"] for found in known)
    return f"On {cores} core{'s' * (cores != 1)} {each} texts a second; {names} = {ratio}."


def latency(sets: Sequence[Figures]) -> str:
    """p99 of each at the highest rate that the first was offered within its capacity."""
    runs = [(found["name"], runs[-1]) for found in sets if (runs := ladder(found, "dense"))]
    runs = [(name, run) for name, run in runs if run["p99"] is not None]
    if not runs:
        return ""
    share, offered = runs[0][1]["share"], runs[0][1]["offered"]
    each = listed([f"{number(run['p99'])} ms with {name}" for name, run in runs])
    return f"At {number(offered)} texts a second, {percent(share)} of what {sets[0]['name']} can do, p99 is {each}."


def stages(sets: Sequence[Figures]) -> str:
    """Shares of waiting and of running of each, at the same rate."""
    runs = [(found["name"], runs[-1]["stages"]) for found in sets if (runs := ladder(found, "dense"))]
    runs = [(name, parts) for name, parts in runs if sum(parts.values())]
    if not runs:
        return ""
    each = [
        f"with {name} {percent(parts['queue'] / sum(parts.values()))} waiting and "
        f"{percent(parts['infer'] / sum(parts.values()))} running"
        for name, parts in runs
    ]
    return f"At the highest of these rates an accepted request spends {listed(each)}."


def overload(sets: Sequence[Figures], bound: float) -> str:
    """Goodput and p99 when the most was offered."""
    runs = [(found, found["overload"][-1]) for found in sets if found.get("overload") and full_of(found, "overload")]
    if not runs:
        return ""
    times = runs[0][1]["times"]
    kept = listed([f"{found['name']} {percent(run['goodput'] / full_of(found, 'overload'))}" for found, run in runs])
    slowest = max((run["p99"] or 0.0) for _, run in runs)
    return (
        f"Offered {times} times what it can do, each goes on answering at this share of its capacity: {kept}. "
        f"The highest p99 of what is accepted is {number(slowest / 1000)} s; admission promises {bound:g} s."
    )


def spike(sets: Sequence[Figures]) -> str:
    """Refused in the spike, and the seconds until p50 was as before."""
    told = []
    for found in sets:
        buckets = found.get("spike") or []
        offered, refused = (sum(bucket[name] for bucket in buckets) for name in ("offered", "refused"))
        if offered:
            after = recovery(buckets)
            back = f"p50 is back after {after} s" if after is not None else "p50 is not back before the end"
            told.append(f"with {found['name']} {percent(refused / offered)} of all texts are refused and {back}")
    return f"Of the spike, {listed(told)}." if told else ""


def recovery(buckets: Sequence[Figures]) -> int | None:
    """Whole seconds from the last second of the spike until p50 stays within twice that before it; None if never."""
    high = max(bucket["offered"] for bucket in buckets) / 2
    busy = [n for n, bucket in enumerate(buckets) if bucket["offered"] > high]
    before = sorted(b["p50"] for b in buckets[: busy[0]] if b["p50"] is not None)
    if not before:
        return None
    usual = 2 * before[len(before) // 2]
    slow = [n for n in range(busy[-1], len(buckets)) if (buckets[n]["p50"] or 0) > usual]
    last = max(slow, default=busy[-1])
    return None if last == len(buckets) - 1 else last - busy[-1]


def ramp(sets: Sequence[Figures]) -> str:
    """The load at which refusals began."""
    told = []
    for found in sets:
        if not (found.get("ramp") and found.get("capacity")):
            continue
        refusing = [bucket["offered"] for bucket in found["ramp"] if bucket["refused"]]
        most = max(bucket["offered"] for bucket in found["ramp"]) / found["capacity"]
        told.append(
            f"{found['name']} refuses from {refusing[0] / found['capacity']:.1f} times its capacity"
            if refusing
            else f"{found['name']} refuses nothing up to {most:.1f} times its capacity"
        )
    return f"While the queue grows, {listed(told)}." if told else ""


def mix(sets: Sequence[Figures]) -> str:
    """p99 of both tasks at one rate of requests."""
    told = [
        f"{number(found['mix']['classify']['p99'])} and {number(found['mix']['answer']['p99'])} ms with {found['name']}"
        for found in sets
        if found.get("mix")
    ]
    if not told:
        return ""
    rate = next(found["mix"]["requests_per_second"] for found in sets if found.get("mix"))
    return f"At {number(rate)} requests a second of both tasks, p99 of classification and of answers is {listed(told)}."


def leave(sets: Sequence[Figures], patience: float) -> str:
    """Clients that left, and the compute that was not spent on them."""
    told = [
        f"with {found['name']} {found['leave']['left']:,} left and {number(found['leave']['spared'])} s of compute "
        "were spared"
        for found in sets
        if found.get("leave")
    ]
    return f"Of clients that wait {number(patience)} ms at most, {listed(told)}." if told else ""


def thresholds(checked: int, missed: Sequence[str], sets: Sequence[Figures], longest: float) -> str:
    """Whether what must hold held."""
    unsent = sum(run.get("never_sent", 0) for found in sets for run in [*ladder(found), *(found.get("overload") or [])])
    held = f"{checked - len(missed)} of {checked} checks held"
    told = f"{held} (no error but 429, Retry-After with each of them, p99 of accepted below {longest:g} s)."
    return told + (f" The generator could not send {unsent:,} requests in time." if unsent else "")


def disturbed(sets: Sequence[Figures]) -> str:
    """What answered a fifth more of such requests in some run than when its capacity was measured; empty if nothing."""
    told = []
    for found in sets:
        best = max((run["goodput"] for run in ladder(found)), default=0)
        if found.get("capacity") and best > 1.2 * found["capacity"]:
            told.append(f"{found['name']} later answered {number(best)} texts/s, {number(found['capacity'])} at first")
    return f"These figures are not to be trusted, something else used the machine: {listed(told)}." if told else ""


def listed(parts: Sequence[str]) -> str:
    """With commas and an and."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
