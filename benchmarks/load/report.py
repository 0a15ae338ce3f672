"""The figures of a load test as one HTML file that fetches nothing.

python -m benchmarks.load.report benchmarks/results/load.json load.html
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load import findings, pictures
from pgb_core.charts import DASH, TIMES, marker, number, percent, style

Figures = Mapping[str, Any]


def render(figures: Figures) -> str:
    """The page. What was not measured is left out."""
    sets: Sequence[Figures] = figures.get("sets") or []
    missed: Sequence[str] = figures.get("missed") or []
    lead = "".join(f"<li>{html.escape(line)}</li>" for line in _lead(figures, sets, missed))
    failed = "".join(f"<li>{html.escape(line)}</li>" for line in missed)
    quick = '<p class="note">A quick run: few requests stand behind each point.</p>' if figures.get("quick") else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"/><title>Load test: dense and compressed</title>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<style>{sheet()}</style></head><body>
<header><h1>Load test: dense and compressed</h1>{quick}</header>
<main>{_tiles(sets)}<ul class="lead">{lead}</ul>
{f'<section class="missed"><h2>Missed</h2><ul>{failed}</ul></section>' if failed else ""}
{"".join(_sections(figures, sets))}</main></body></html>
"""


def sheet() -> str:
    """The style sheet of the page, and of the page on rival servers."""
    return style(Path(__file__).with_name("report.css").read_text("utf-8"))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """The first column names the row. kind: its class in the style sheet."""
    top = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    named = f' class="{kind}"' if kind else ""
    return f"<table{named}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def main() -> None:
    """Draw a result file again."""
    source, target = map(Path, sys.argv[1:3])
    target.write_text(render(json.loads(source.read_text("utf-8"))), "utf-8")


def _lead(figures: Figures, sets: Sequence[Figures], missed: Sequence[str]) -> list[str]:
    """What stands first, a line each."""
    cores = int((figures.get("machine") or {}).get("cores_of_service", 1))
    longest = _bound(figures) + float(figures.get("margin_seconds", 0))
    told = [
        findings.disturbed(sets),
        findings.capacity(sets, cores),
        findings.thresholds(int(figures.get("checked", 0)), missed, sets, longest) if sets else "",
    ]
    return [line for line in told if line] or ["Nothing was measured."]


def _sections(figures: Figures, sets: Sequence[Figures]) -> list[str]:
    """Each picture with what it shows; an empty text where it was not measured."""
    bound = _bound(figures)
    rows = int(figures.get("rows", 1))
    many = int(figures.get("overload_rows", rows))
    key = f"Pale above the bars: refused. Dashed: capacity, and the bound of admission, {bound:g} s."
    return [
        _section(
            "Latency against arrival rate",
            pictures.latency(sets),
            findings.latency(sets),
            f"Each point is one run at a constant rate of arrival; a request carries {rows} texts. "
            "Dotted upright lines are the capacities.",
            _legend(sets),
        ),
        _section(
            "Where the time goes",
            pictures.stages(sets),
            findings.stages(sets),
            "Means, because percentiles of stages do not add up. Infer lasts from a request's first batch to the end "
            "of its last. Network is what the client saw beyond the server's own total.",
            _legend(sets) + _stage_legend(),
        ),
        _section(
            "Goodput and refusals",
            pictures.offered_and_answered(sets),
            findings.overload(sets, bound),
            "The dashed line on the right is the share beyond capacity. A short run lies below it: what was in the "
            f"queue at its end was answered later. A request of an overload carries {many} texts.",
            _legend(sets),
        ),
        _section(
            "A spike",
            pictures.over_time(sets, "spike", bound),
            findings.spike(sets),
            f"Half of its capacity, then 4 times, then half again. A request carries {many} texts. " + key,
        ),
        _section(
            "A ramp to saturation",
            pictures.over_time(sets, "ramp", bound),
            findings.ramp(sets),
            f"From a tenth of its capacity to one and a half times. {key}",
        ),
        _section(
            "Both tasks at once, of varied lengths",
            pictures.mix(sets),
            findings.mix(sets),
            "One server, two models: 70% classify 1 to 8 texts, 30% ask about 1 to 3 passages. All sets get the same "
            "number of requests.",
            _legend(sets),
        ),
        _section("Clients that leave", _leave(sets), findings.leave(sets, figures.get("patience_ms", 0)), ""),
        _section("All figures", _ladder(sets), "", ""),
        _section("The machine", _machine(figures, sets), "", ""),
    ]


def _bound(figures: Figures) -> float:
    return float(figures.get("bound_seconds", 0))


def _section(title: str, picture: str, finding: str, note: str, legend: str = "") -> str:
    if not picture:
        return ""
    lines = f'<p class="finding">{html.escape(finding)}</p>' if finding else ""
    small = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{title}</h2>{lines}{legend}<div class='wide'>{picture}</div>{small}</section>"


def _legend(sets: Sequence[Figures]) -> str:
    items = "".join(
        f'<span><svg viewBox="0 0 14 14" aria-hidden="true">{marker(7, 7, n)}</svg>{html.escape(found["name"])}</span>'
        for n, found in enumerate(sets)
    )
    return f'<div class="legend">{items}</div>'


def _stage_legend() -> str:
    items = "".join(
        f'<span><svg viewBox="0 0 14 14" aria-hidden="true"><rect class="stage {name}" width="14" height="14"/></svg>'
        f"{name}</span>"
        for name in pictures.STAGES
    )
    return f'<div class="legend">{items}</div>'


def _tiles(sets: Sequence[Figures]) -> str:
    known = [found for found in sets if found.get("capacity")]
    most = max((found["capacity"] for found in known), default=1)
    tiles = "".join(
        f'<div class="tile c{n}"><h2>{html.escape(found["name"])}</h2>'
        f"<p><b>{number(found['capacity'])}</b> texts/s</p>"
        f'<p class="ratio">{found["capacity"] / known[0]["capacity"]:.1f} {TIMES} {html.escape(known[0]["name"])}'
        f"{_at_dense(found)}</p>"
        f'<svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="fill c{n}" width="{100 * found["capacity"] / most:.1f}" height="4"/></svg></div>'
        for n, found in enumerate(known)
    )
    return f'<div class="tiles">{tiles}</div>' if tiles else ""


def _at_dense(found: Figures) -> str:
    runs = pictures.ladder(found, "dense")
    return f"; p99 {number(runs[-1]['p99'])} ms at {number(runs[-1]['offered'])} texts/s" if runs else ""


def _leave(sets: Sequence[Figures]) -> str:
    rows = [
        [
            found["name"],
            number(found["leave"]["offered"]),
            f"{found['leave']['left']:,}",
            f"{found['leave']['requests']:,}",
            percent(found["leave"]["refused_share"]),
            f"{number(found['leave']['spared'])} s",
            f"{number(found['leave']['p99'])} ms",
        ]
        for found in sets
        if found.get("leave")
    ]
    heads = ["", "offered, texts/s", "left", "answered", "texts refused", "compute spared", "p99"]
    return table(heads, rows) if rows else ""


def _ladder(sets: Sequence[Figures]) -> str:
    rows = []
    for found in sets:
        for run in pictures.ladder(found):
            whose = sets[0]["name"] if run["of"] == "dense" else "its own"
            rows.append(_run(found["name"], f"{percent(run['share'])} of {whose}", run))
        rows += [_run(found["name"], f"{run['times']} {TIMES} its own", run) for run in found.get("overload") or []]
    heads = [
        "",
        "load",
        "offered, texts/s",
        "answered, texts/s",
        "refused",
        "p50, ms",
        "p90, ms",
        "p99, ms",
        "requests",
    ]
    return f"<details><summary>{len(rows)} runs</summary>{table(heads, rows)}</details>" if rows else ""


def _run(name: str, load: str, run: Figures) -> list[str]:
    latencies = [number(run[part]) for part in pictures.PERCENTILES]
    refused = percent(run["refused_share"])
    return [name, load, number(run["offered"]), number(run["goodput"]), refused, *latencies, f"{run['requests']:,}"]


def _machine(figures: Figures, sets: Sequence[Figures]) -> str:
    rows = [[name.replace("_", " "), str(value)] for name, value in (figures.get("machine") or {}).items()]
    rows += [["texts a request", str(figures.get("rows", DASH))]]
    rows += [["in overload and spike", str(figures.get("overload_rows", DASH))]]
    rows += [["bound of admission", f"{_bound(figures):g} s"]]
    rows += [["p99 checked against", f"bound + {figures.get('margin_seconds', 0):g} s"]]
    rows += [["time of all runs", f"{number(figures.get('seconds'))} s"]]
    for found in sets:
        size = f", {found['rss_mb']:,} MB after load" if "rss_mb" in found else ""
        ready = f", ready in {found['ready_seconds']} s" if "ready_seconds" in found else ""
        form = f", served in {found['form']}" if "form" in found else ""
        kept = f"{100 * found.get('kept', 1):.1f}% of the encoder's weights"
        rows.append([found["name"], f"{kept}{form}{ready}{size}"])
    return table(["fact", "value"], rows, "facts")


if __name__ == "__main__":
    main()
