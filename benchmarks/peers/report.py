"""The figures of a comparison as one HTML file that fetches nothing.

python -m benchmarks.peers.report benchmarks/results/peers.json peers.html
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.report import sheet, table
from benchmarks.peers import findings
from pgb_core.charts import Scale, bar, number, svg, text, top

Figures = Mapping[str, Any]
_WIDTH, _LEFT, _ROW = 1080, 210, 30


def render(figures: Figures) -> str:
    """The page. What was not measured is left out."""
    better = findings.better(figures)
    lead = "".join(f"<li>{html.escape(line)}</li>" for line in better)
    smoke = '<p class="note">A smoke run: its figures say nothing.</p>' if figures.get("smoke") else ""
    bound = f"{figures.get('bound_ms', 0):g} ms"
    out = {**figures.get("not_run", {}), **findings.failed(figures)}
    sections = [
        f"<h2>Where a rival is better</h2><ul>{lead}</ul>" if better else "",
        f"<h2>Highest rate with 99% of answers within {bound}</h2><div class='wide'>{rates(figures)}</div>"
        "<p class='note'>One core for the server and one for the load. Requests start when it is their time.</p>",
        f"<h2>Rates, latencies, memory</h2>{_table(*findings.speed_rows(figures))}",
        f"<h2>When things go wrong</h2>{_table(*findings.fault_rows(figures))}",
        f"<h2>Settings</h2>{_table(['server', 'version', 'setting', 'why'], _settings(figures))}",
        f"<h2>Not measured</h2>{_table(['server', 'why'], [[*item] for item in out.items()])}" if out else "",
        f"<h2>The machine</h2>{_table(['fact', 'value'], _machine(figures))}",
    ]
    body = "".join(f"<section>{section}</section>" for section in sections if section)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"/><title>Rival servers under the same load</title>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<style>{sheet()}</style></head><body>
<header><h1>Rival servers under the same load</h1>{smoke}</header><main>{body}</main></body></html>
"""


def rates(figures: Figures) -> str:
    """The highest rate of each as bars; those of this service stand out."""
    found = findings.measured(figures)
    if not found:
        return ""
    bottom = 40 + _ROW * len(found)
    x = Scale(0, top(one["highest_per_second"] for one in found.values()), _LEFT, _WIDTH - 70)
    body = f'<path class="axis" d="M{_LEFT} {bottom}H{x.end}"/>'
    body += "".join(text(x(tick), bottom + 18, f"{tick:,g}", "tick") for tick in x.ticks())
    body += text((_LEFT + x.end) / 2, bottom + 38, "requests/s", "label")
    for n, (name, one) in enumerate(found.items()):
        y = 36 + _ROW * n
        rate, kind = one["highest_per_second"], "fill c2" if name.startswith(findings.OURS) else "fill c0"
        body += text(_LEFT - 8, y + 16, name, "label", "end")
        body += bar(_LEFT, y, x(rate) - _LEFT, _ROW - 8, kind, f"{name}, {one['form']}: {number(rate)} requests/s")
        body += text(x(rate) + 6, y + 16, number(rate), "value", "start")
    return svg(_WIDTH, bottom + 50, "Highest rate of each server", body)


def _settings(figures: Figures) -> list[list[str]]:
    return [
        [name, one.get("version", ""), setting, why]
        for name, one in figures["contenders"].items()
        for setting, why in one.get("settings", {}).items()
    ]


def _machine(figures: Figures) -> list[list[str]]:
    machines = [one["machine"] for one in figures["contenders"].values() if "machine" in one]
    if not machines:
        return []
    busy = [machine["load_average_before"] for machine in machines]
    first = {key: value for key, value in machines[0].items() if key != "load_average_before"}
    rows = [
        [key.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value)]
        for key, value in first.items()
    ]
    return [*rows, ["load average before each", f"{min(busy)} to {max(busy)}"]]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls where it is too wide; without the marks of code in its cells."""
    cells = [[row[0], *(cell.strip("`") for cell in row[1:])] for row in rows]
    return f"<div class='wide'>{table(heads, cells)}</div>"


def main() -> None:
    """Draw a result file again."""
    source, target = map(Path, sys.argv[1:3])
    target.write_text(render(json.loads(source.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
