"""The pictures of the report: figures in, SVG out. A scenario that was not run gives no picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pgb_core.charts import TIMES, Scale, axes, bar, line, log_ends, marker, number, percent, svg, text, top

Figures = Mapping[str, Any]
STAGES = ("tokenize", "queue", "infer", "postprocess", "network")
PERCENTILES = ("p50", "p90", "p99")
WIDTH = 1080
LEFT = 76


def ladder(found: Figures, of: str | None = None) -> list[Figures]:
    """The steady runs of a set by rate; `of` chooses those at shares of the dense or its own capacity."""
    steady = found.get("steady") or []
    if of == "dense" and all(run["of"] == "own" for run in steady):
        of = "own"  # the dense set itself
    return sorted((run for run in steady if of in (None, run["of"])), key=lambda run: float(run["offered"]))


def latency(sets: Sequence[Figures]) -> str:
    """p50, p90 and p99 side by side against the rate of arrival, both on log scales."""
    runs = [run for found in sets for run in ladder(found)]
    if not runs:
        return ""
    rates = log_ends([*(run["offered"] for run in runs), *(found.get("capacity") for found in sets)])
    low, high = log_ends(run[name] for run in runs for name in PERCENTILES)
    body = ""
    for n, name in enumerate(PERCENTILES):
        x = Scale(*rates, LEFT + 338 * n, LEFT + 338 * n + 314, log=True)
        y = Scale(low, high, 300, 40, log=True)
        body += axes(x, y, "offered, texts/s (log)", "" if n else "latency, ms (log)", name, "x" if n else "xy")
        for series, found in enumerate(sets):
            if found.get("capacity"):
                at = x(found["capacity"])
                body += f'<path class="limit c{series}" d="M{at} 300V40"/>'
            points = [(run, x(run["offered"]), y(run[name])) for run in ladder(found) if run[name] is not None]
            body += line([(a, b) for _, a, b in points], f"c{series}")
            for run, a, b in points:
                told = f"{found['name']}, {number(run['offered'])} texts/s: {name} {number(run[name])} ms"
                body += marker(a, b, series, f"{told}, of {run['requests']} requests")
    return svg(WIDTH, 350, "Latency percentiles against arrival rate", body)


def stages(sets: Sequence[Figures]) -> str:
    """Mean milliseconds by stage as stacked bars: the same rates for all sets."""
    ladders = [ladder(found, "dense") for found in sets]
    shares = sorted({run["share"] for runs in ladders for run in runs})
    if not shares:
        return ""
    totals = [sum(run["stages"].values()) for runs in ladders for run in runs]
    y = Scale(0, top(totals), 300, 30)
    step = (WIDTH - LEFT - 10) / len(shares)
    width = min(44.0, 0.72 * step / len(sets))
    body = axes(Scale(0, 1, LEFT, WIDTH - 10), y, "", "mean of accepted, ms", ticks="y")
    for n, share in enumerate(shares):
        left = LEFT + n * step + (step - 1.18 * width * len(sets)) / 2
        for series, (found, runs) in enumerate(zip(sets, ladders, strict=True)):
            run = next((run for run in runs if run["share"] == share), None)
            if run:
                body += _stack(left + 1.18 * width * series, width, y, run, found["name"])
                body += marker(round(left + 1.18 * width * series + width / 2, 1), 314, series, found["name"], 4)
        offered = next(run["offered"] for runs in ladders for run in runs if run["share"] == share)
        middle = LEFT + (n + 0.5) * step
        body += text(middle, 340, f"{number(offered)} texts/s", "label")
        body += text(middle, 356, f"{percent(share)} of {sets[0]['name']}", "tick")
    return svg(WIDTH, 364, "Where the time goes, by arrival rate", body)


def _stack(left: float, width: float, y: Scale, run: Figures, name: str) -> str:
    body, below = "", 0.0
    for stage in STAGES:
        value = run["stages"].get(stage, 0.0)
        told = f"{name}, {stage}: {number(value)} ms"
        body += bar(left, y(below + value), width, y(below) - y(below + value), f"stage {stage}", told)
        below += value
    return body + text(left + width / 2, y(below) - 6, number(below), "value")


def offered_and_answered(sets: Sequence[Figures]) -> str:
    """Goodput and the share refused, against the load as a multiple of each set's own capacity."""
    runs = [_against_capacity(found) for found in sets]
    if not any(runs):
        return ""
    most = top(times for points in runs for times, _ in points)
    x, other = Scale(0, most, LEFT, 540), Scale(0, most, 640, WIDTH - 10)
    y = Scale(0, top(run["goodput"] for points in runs for _, run in points), 300, 40)
    refused = Scale(0, 100, 300, 40)
    body = axes(x, y, "offered, multiples of its own capacity", "answered, texts/s", "goodput", suffix=TIMES)
    body += axes(
        other, refused, "offered, multiples of its own capacity", "refused, %", "refused with 429", suffix=TIMES
    )
    least = [(other(n / 20), refused(100 * max(0, 1 - 20 / max(1, n)))) for n in range(int(20 * most) + 1)]
    body += line(least, "ideal") + text(other(1.9), refused(60), "beyond capacity", "tick", "end")
    for series, (found, points) in enumerate(zip(sets, runs, strict=True)):
        body += line([(x(times), y(run["goodput"])) for times, run in points], f"c{series}")
        body += line([(other(times), refused(100 * run["refused_share"])) for times, run in points], f"c{series}")
        for times, run in points:
            told = f"{found['name']}, {times:.2f} times its capacity: "
            body += marker(x(times), y(run["goodput"]), series, f"{told}{number(run['goodput'])} texts/s answered")
            at = refused(100 * run["refused_share"])
            body += marker(other(times), at, series, f"{told}{percent(run['refused_share'])} refused")
    return svg(WIDTH, 350, "Goodput and refusals against offered load", body)


def _against_capacity(found: Figures) -> list[tuple[float, Figures]]:
    if not found.get("capacity"):
        return []
    points = [(float(run["offered"]) / found["capacity"], run) for run in ladder(found, "own")]
    full = full_of(found, "overload")
    points += [(float(run["offered"]) / full, run) for run in found.get("overload") or [] if full]
    return sorted(points, key=lambda point: point[0])


def full_of(found: Figures, scenario: str) -> float:
    """Capacity of a set, in texts a second, with requests of a scenario's size; 0 when it was not measured."""
    return float(found.get("overload_capacity" if scenario in ("overload", "spike") else "capacity") or 0.0)


def over_time(sets: Sequence[Figures], scenario: str, bound: float) -> str:
    """By second of sending: what was answered and refused, and below it the latency; a column a set."""
    shown = [(n, found) for n, found in enumerate(sets) if found.get(scenario) and full_of(found, scenario)]
    if not shown:
        return ""
    load = top(bucket["offered"] / full_of(found, scenario) for _, found in shown for bucket in found[scenario])
    values = [bucket[name] for _, found in shown for bucket in found[scenario] for name in ("p50", "p99")]
    low, high = log_ends([*values, 1000 * bound])
    room = (WIDTH - LEFT - 10) / len(shown)
    body = ""
    for column, (series, found) in enumerate(shown):
        buckets = found[scenario]
        x = Scale(0, len(buckets), LEFT + column * room, LEFT + (column + 1) * room - 30)
        y = Scale(0, load, 190, 40)
        ms = Scale(low, high, 400, 240, log=True)
        first = not column
        body += axes(x, y, "", f"texts, {TIMES} capacity" if first else "", found["name"], "y" if first else "")
        width = (x.end - x.start) / len(buckets)
        for bucket in buckets:
            body += _second(bucket, x(bucket["second"]), width, y, full_of(found, scenario), series)
        body += f'<path class="limit ink" d="M{x.start} {y(1)}H{x.end}"/>'
        body += axes(x, ms, "second of sending", "accepted, ms (log)" if first else "", "", "xy" if first else "x")
        body += f'<path class="limit ink" d="M{x.start} {ms(1000 * bound)}H{x.end}"/>'
        for name in ("p50", "p99"):
            points = [(x(b["second"] + 0.5), ms(b[name]), b) for b in buckets if b[name] is not None]
            body += line([(a, b) for a, b, _ in points], f"c{series} {name}")
            for a, b, bucket in points:
                told = f"{found['name']}, second {bucket['second']}: {name} {number(bucket[name])} ms"
                body += marker(a, b, series, told, 3.2 if name == "p99" else 2.4)
            if points:
                body += text(x.end + 3, points[-1][1] + (10 if name == "p50" else -1), name, "tick", "start")
    return svg(WIDTH, 446, f"The {scenario} over time", body)


def _second(bucket: Figures, left: float, width: float, y: Scale, full: float, series: int) -> str:
    told = f"second {bucket['second']}: {bucket['offered']} texts offered, {bucket['answered']} answered, "
    told += f"{bucket['refused']} refused"
    answered, offered = bucket["answered"] / full, bucket["offered"] / full
    body = bar(left + 0.5, y(answered), width - 1, y(0) - y(answered), f"fill c{series}", told)
    if bucket["refused"]:
        body += bar(left + 0.5, y(offered), width - 1, y(answered) - y(offered), "refused", told)
    return body


def mix(sets: Sequence[Figures]) -> str:
    """p50, p90 and p99 of both tasks as ranges on a log scale."""
    rows = [
        (task, series, found["name"], found["mix"][task])
        for task in ("classify", "answer")
        for series, found in enumerate(sets)
        if (found.get("mix") or {}).get(task, {}).get("p50") is not None
    ]
    if not rows:
        return ""
    low, high = log_ends(values[name] for *_, values in rows for name in PERCENTILES)
    bottom = 40 + 30 * len(rows)
    x = Scale(low, high, 190, WIDTH - 40, log=True)
    body = "".join(f'<path class="grid" d="M{x(tick)} 24V{bottom}"/>' for tick in x.ticks(9))
    body += "".join(text(x(tick), bottom + 18, f"{tick:,g}", "tick") for tick in x.ticks(9))
    body += text((x.start + x.end) / 2, bottom + 40, "latency, ms (log): p50, p90, p99 from left to right", "label")
    for n, (task, series, name, values) in enumerate(rows):
        at = 44 + 30 * n
        body += text(176, at + 4, f"{task}, {name}", "label", "end")
        ends = [x(values[part]) for part in PERCENTILES]
        body += f'<path class="range c{series}" d="M{ends[0]} {at}H{ends[2]}"/>'
        for part, place in zip(PERCENTILES, ends, strict=True):
            body += marker(place, at, series, f"{task}, {name}: {part} {number(values[part])} ms", 5)
        body += text(ends[2] + 10, at + 4, number(values["p99"]), "value", "start")
    return svg(WIDTH, bottom + 48, "Latency of a mix of classification and question answering", body)
