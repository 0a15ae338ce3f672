"""One page: when each alert was pending and fired, and every panel of the dashboard over the whole run."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.alerts.prometheus import Series
from benchmarks.engine import ROOT
from pgb_core.charts import Scale, axes, bar, line, number, svg, text, top

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docker/grafana/dashboards/service.json").read_text("utf-8"))
COLUMN, ROW, GAP = 50, 27, 8
# Seconds between the points of a line.
STEP = 2
COLOURS = ("#1f66c1", "#d95f00", "#2c8a57", "#8a3ffc", "#b8860b", "#c2185b", "#00838f", "#5d4037")
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 24px; background: #fff; color: #1b1d21; width: 1200px; }
h1 { font-size: 20px; } p { color: #5a5e66; }
svg text { font-size: 11px; fill: #5a5e66; } svg .title { font-weight: 650; font-size: 13px; fill: #1b1d21; }
svg .grid { stroke: #e6e3dc; fill: none; } svg .axis { stroke: #8a877f; fill: none; }
svg .line { fill: none; stroke-width: 1.5; } svg .firing { fill: #d03b2f; } svg .pending { fill: #f2c14e; }
svg .frame { fill: none; stroke: #e6e3dc; }
"""
_COLOURS = "".join(
    f"svg .k{n} {{ stroke: {c}; }} svg text.k{n} {{ stroke: none; fill: {c}; }}" for n, c in enumerate(COLOURS)
)


def asked(query: str, interval: str, service: str = ".*") -> str:
    """A query of the dashboard as Grafana sends it: of one service, or of all."""
    query = query.replace("$__rate_interval", interval).replace("$service", service)
    return re.sub(r"\$(namespace|model)\b", ".*", query)


def legend(words: str, labels: Mapping[str, str]) -> str:
    """A panel's legend with the labels of a series."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), words)


def points(series: Series) -> list[tuple[float, float]]:
    """Time and value of what a series has, less what is no number."""
    found = ((float(at), float(value)) for at, value in series["values"])
    return [(at, value) for at, value in found if value == value]


def panel(shown: Mapping[str, Any], lines: Sequence[tuple[str, list[tuple[float, float]]]], span: float) -> str:
    """A panel at its place of the grid. lines: name and points, whose times begin at 0; span: the last, in seconds."""
    place = shown["gridPos"]
    left, high = place["x"] * COLUMN, place["y"] * ROW
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    small, bytes_ = place["h"] < 8, shown["fieldConfig"]["defaults"]["unit"] == "bytes"
    unit = 1e-6 if bytes_ else 1.0
    bottom = high + height - 14 * ((len(lines) + 1) // 2) - (8 if small else 32)
    x = Scale(0, span, left + (8 if small else 46), left + width - 24)
    y = Scale(0, top((value * unit for _, found in lines for _, value in found), 1e-6), bottom, high + 30)
    body = f'<rect class="frame" x="{left}" y="{high}" width="{width}" height="{height}" rx="4"/>'
    if not small:
        body += axes(x, y, "", "", ticks="xy", suffix=" s")
    body += text(left + 8, high + 16, shown["title"] + (", MB" if bytes_ else ""), "title", "start")
    for n, (name, found) in enumerate(lines):
        for piece in unbroken(found):
            body += line([(x(at), y(value * unit)) for at, value in piece], f"k{n % len(COLOURS)}")
        named = f"{name}: at most {number(max(value for _, value in found))}" if small and found else name
        at = (left + 10 + (n % 2) * width / 2, high + height - 14 * ((len(lines) - 1) // 2 - n // 2) - 8)
        body += text(*at, named[: width // 12], f"k{n % len(COLOURS)}", "start")
    return body


def unbroken(found: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The pieces of a line, which ends where more than two samples are missing."""
    pieces: list[list[tuple[float, float]]] = []
    for at, value in found:
        if not pieces or at - pieces[-1][-1][0] > 3 * STEP:
            pieces.append([])
        pieces[-1].append((at, value))
    return pieces


def timeline(alerts: Mapping[str, Mapping[str, Sequence[float]]], span: float) -> str:
    """A row for each alert of each service: the seconds at which it was pending, and those at which it fired."""
    x = Scale(0, span, 190, 24 * COLUMN - GAP)
    body = ""
    for n, (name, found) in enumerate(alerts.items()):
        body += text(180, 20 * n + 14, name, "", "end")
        for state in ("pending", "firing"):
            for at in found.get(state, ()):
                body += bar(x(at), 20 * n + 4, max(1.0, x(at + 1) - x(at)), 12, state)
    return svg(24 * COLUMN, 20 * len(alerts) + 8, "When each alert was pending and fired", body)


def page(told: str, alerts: str, panels: str) -> str:
    """The whole page."""
    height = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in DASHBOARD["panels"]) * ROW
    drawn = svg(24 * COLUMN, height, "The dashboard", panels)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Alerts and dashboard</title>'
        f"<style>{_STYLE}{_COLOURS}</style></head><body><h1>Alerts</h1><p>{html.escape(told)}</p>{alerts}"
        f"<h1>Dashboard</h1>{drawn}</body></html>"
    )
