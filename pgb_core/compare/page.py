"""The report of a comparison as one self-contained HTML file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from pgb_core.charts import Labels, Scale, axes, line, log_ends, marker, number, style, svg
from pgb_core.compare.rows import Candidate, Row, advice, frontier
from pgb_core.options import METHODS

WIDTH, HEIGHT = 1080, 560
LEFT, RIGHT, TOP, BOTTOM = 76, 1060, 24, 500
COMPONENTS = ("dense", *dict.fromkeys(options().component for options in METHODS.values()))


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    rows: of every point. candidates: every form that was timed, the dense model's too. shape: that their times are of;
    times: of every shape, by point and form. error: standard error of the dense model's score, in points. busy: why
    times are not to be trusted.
    """

    name: str
    task: str
    metric: str
    judged: int
    dense: float
    error: float | None
    rows: Sequence[Row]
    candidates: Sequence[Candidate]
    shape: str
    times: Mapping[str, Mapping[str, Mapping[str, float]]]
    machine: Mapping[str, object]
    busy: str | None


def page(report: Report) -> str:
    """The whole file."""
    name = html.escape(report.name)
    said = advice(report.candidates, report.dense, report.error, report.metric)
    busy = "".join(f'<p class="note">{html.escape(one)}</p>' for one in distrust(report))
    body = "".join(
        [
            _section(
                "What to take", f'<ol class="lead">{"".join(f"<li>{html.escape(one)}</li>" for one in said)}</ol>{busy}'
            ),
            _section(
                f"{report.metric} against time",
                f"<p>Milliseconds at {html.escape(report.shape)} (batch x tokens), each point in its fastest form, and "
                "in every other form on the line. The line joins those that no other beats in both. Bars are one "
                "standard error of the dense model's score. The broken line is that score.</p>"
                f"{_legend()}<div class='wide'>{picture(report)}</div>",
            ),
            _section("Every point", _points(report)),
            _section("What each layer kept", _layers(report.rows)),
            _section("What each head is worth", _worth(report.rows)) if _tried(report.rows) else "",
            _section("Methods", _methods(report)),
            _section("Machine", _facts(report.machine)),
        ]
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: methods compared</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
{sheet()}</style></head><body>
<header><h1>{name}: methods compared</h1>
<p>{html.escape(report.task)}, on {judged(report)}</p>
</header>
<main>{body}</main></body></html>
"""


def sheet() -> str:
    """The style sheet of the page, and of its pictures."""
    return style(files("pgb_core.compare").joinpath("page.css").read_text("utf-8"))


def judged(report: Report) -> str:
    """By how many rows, and how sure that makes a score."""
    error = f", standard error {report.error:.2f}" if report.error else ""
    return f"{report.judged:,} rows: {report.metric} of the dense model {report.dense:.2f}{error}"


def distrust(report: Report) -> list[str]:
    """Why the times are not to be trusted, in sentences; empty where they are."""
    if not report.busy:
        return []
    return [f"The machine was too busy for exact times: {report.busy}. Run the command again when it is idle."]


def best_forms(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The fastest form of each point, and every dense one."""
    best: dict[str, Candidate] = {}
    for one in candidates:
        key = one.name if not one.dense else f"{one.name} {one.form}"
        if key not in best or one.time < best[key].time:
            best[key] = one
    return list(best.values())


def picture(report: Report) -> str:
    """Score against time, on a logarithmic scale: the best forms, and all that lead."""
    best, leading = best_forms(report.candidates), frontier(report.candidates)
    shown = [one for one in report.candidates if one in best or one in leading]
    if not shown:
        return ""
    error = report.error or 0.0
    low = min([report.dense, *(one.score for one in shown)]) - error
    high = max([report.dense, *(one.score for one in shown)]) + error
    room = max(0.5, 0.06 * (high - low))
    x = Scale(*log_ends(one.time for one in shown), LEFT, RIGHT, log=True)
    y = Scale(low - room, high + room, BOTTOM, TOP)
    body = axes(x, y, f"milliseconds at {report.shape} (log)", f"{report.metric}, points")
    body += f'<path class="reference" d="M{LEFT} {y(report.dense)}H{RIGHT}"/>'
    body += line([(x(one.time), y(one.score)) for one in leading], "c0")
    places = {(one.name, one.form): (x(one.time), y(one.score)) for one in shown}
    labels = Labels((LEFT, TOP, RIGHT, BOTTOM), places.values())
    for one in sorted(shown, key=lambda c: c not in leading):
        body += labels.beside(*places[one.name, one.form], _named(one), "point")
    for one in sorted(shown, key=lambda c: c in leading):
        series = _series(one)
        at, up = places[one.name, one.form]
        if error:
            body += f'<path class="error c{series}" d="M{at} {y(one.score - error)}V{y(one.score + error)}"/>'
        told = f"{_named(one)}: {report.metric} {one.score:.2f}, {one.time:.2f} ms, {one.bytes / 1e6:.1f} MB"
        body += marker(at, up, series, told, 6 if one in leading else 4.5)
    return svg(WIDTH, HEIGHT, f"{report.metric} against milliseconds of every point", body)


def _series(one: Candidate) -> int:
    return COMPONENTS.index("dense" if one.dense else METHODS[one.method]().component) % 8


def _named(one: Candidate) -> str:
    return f"dense {one.form}" if one.dense else f"{one.method} {one.keep:.0%} {one.form}"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>"


def _legend() -> str:
    marks = "".join(
        f'<span><svg viewBox="0 0 13 13">{marker(6.5, 6.5, n % 8)}</svg>{html.escape(what)}</span>'
        for n, what in enumerate(COMPONENTS)
    )
    return f'<div class="legend">{marks}</div>'


def _points(report: Report) -> str:
    base = min((one.time for one in report.candidates if one.dense), default=None)
    leading = frontier(report.candidates)
    rows = [
        (
            one in leading,
            [
                one.name,
                one.form,
                f"{one.keep:.0%}",
                f"{one.score:.2f}",
                f"{one.score - report.dense:+z.2f}",
                f"{one.time:.2f}",
                f"{base / one.time:.2f}" if base else "",
                f"{one.bytes / 1e6:.1f}",
                *_made(one, report.rows),
            ],
        )
        for one in sorted(report.candidates, key=lambda c: (not c.dense, c.method, -c.keep, c.name, c.time))
    ]
    heads = ["point", "form", "kept", report.metric, "to dense", "ms", "times dense", "MB", "minutes", "folder"]
    found = _table(heads, rows)
    refused = [
        f"<li>{html.escape(row.point.name)}: {html.escape(row.refused)}</li>" for row in report.rows if row.refused
    ]
    none = f'<p>Without an artifact:</p><ul class="note">{"".join(refused)}</ul>' if refused else ""
    said = (
        "Bold: no other point is both faster and better. Minutes are those of making all forms of a point. Folders are "
        "beside this report; pgb serve FOLDER serves one of them."
    )
    return f'<div class="wide">{found}</div>{none}<p class="note">{said}</p>'


def _made(one: Candidate, rows: Sequence[Row]) -> tuple[str, str]:
    """The minutes in which a form's point was made, and its folder; nothing for a form that is in no artifact."""
    row = next((row for row in rows if row.point.name == one.name and one.form in row.bytes), None)
    return (number(row.seconds / 60), f"./{one.name}") if row else ("", "")


def _layers(rows: Sequence[Row]) -> str:
    made = [row for row in rows if row.layers]
    if not made:
        return ""
    count = max(len(row.layers) for row in made)
    heads = "".join(f'<th scope="col" colspan="2">{n}</th>' for n in range(count))
    parts = '<th scope="col">A</th><th scope="col">F</th>' * count
    lines = "".join(
        f'<tr><th scope="row">{html.escape(row.point.name)}</th>'
        + "".join(
            f'<td style="--share: {share:.0%}" title="layer {n}, {part}: {share:.0%} kept"></td>'
            for n, pair in enumerate(row.layers)
            for part, share in zip(("attention", "feed-forward"), pair, strict=True)
        )
        + "</tr>"
        for row in made
    )
    head = f"<thead><tr><th>layer</th>{heads}</tr><tr><th></th>{parts}</tr></thead>"
    drawn = f'<table class="heat">{head}<tbody>{lines}</tbody></table>'
    said = "<p>A is the attention of a layer, F its feed-forward part. The darker, the more was kept.</p>"
    return f'{said}<div class="wide">{drawn}</div>'


def _tried(rows: Sequence[Row]) -> list[list[float]]:
    """What each head is worth, as the first row that tried single heads says; empty where none did."""
    return next((row.worth for row in rows if row.worth and len(row.worth[0]) > 1), [])


def _worth(rows: Sequence[Row]) -> str:
    """The map of heads of Kovaleva et al. 2019: how far the dense model's predictions move without each."""
    table = _tried(rows)
    most = max(value for line in table for value in line) or 1.0
    heads = "".join(f'<th scope="col">{n}</th>' for n in range(len(table[0])))
    lines = "".join(
        f'<tr><th scope="row">layer {layer}</th>'
        + "".join(
            f'<td style="--share: {max(0.0, value / most):.0%}" title="layer {layer}, head {head}: {value:.4f}"></td>'
            for head, value in enumerate(line)
        )
        + "</tr>"
        for layer, line in enumerate(table)
    )
    said = (
        "<p>One row a layer, one cell a head. The darker a cell, the further the dense model's predictions move when "
        f"this head attends to every token alike; those of the darkest have a divergence of {most:.4f}.</p>"
    )
    drawn = f'<table class="heat heads"><thead><tr><th></th>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    return f'{said}<div class="wide">{drawn}</div>'


def _methods(report: Report) -> str:
    """What each method came to: memory, inference, component, training before the cut, performance."""
    base = min((one.time for one in report.candidates if one.dense), default=None)
    sizes = {one.form: one.bytes for one in report.candidates if one.dense}
    small = [row for row in report.rows if row.point.keep < 1]
    rows = []
    for method, options in METHODS.items():
        mine = [one for one in report.candidates if one.method == method and not one.dense]
        if not mine:
            continue
        memory, speed = min(mine, key=lambda c: c.bytes), min(mine, key=lambda c: c.time)
        rows.append(
            (
                False,
                [
                    method,
                    f"{memory.bytes / sizes[memory.form]:.0%} of dense {memory.form}" if memory.form in sizes else "",
                    f"{base / speed.time:.2f} x" if base else "",
                    options().component,
                    "no" if options().compensates else "yes",
                    ", ".join(f"{one.score - report.dense:+z.2f} at {one.keep:.0%}" for one in best_forms(mine)),
                    number(sum(row.seconds for row in small if row.point.method == method) / 60),
                    options.paper,
                ],
            )
        )
    heads = ["method", "smallest file", "inference", "component", "trains first", "performance", "minutes", "paper"]
    return f'<div class="wide">{_table(heads, rows)}</div>'


def _facts(machine: Mapping[str, object]) -> str:
    rows = [(False, [name.replace("_", " "), _listed(value)]) for name, value in machine.items()]
    return _table(["", ""], rows)


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _table(heads: Sequence[str], rows: Sequence[tuple[bool, Sequence[str]]]) -> str:
    """rows: whether a row leads, and its cells, of which the first names it."""
    top = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in heads)
    body = "".join(
        f'<tr{" class=best" if leads else ""}><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td{_aligned(cell)}>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for leads, row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _aligned(cell: str) -> str:
    """Words stand at the left, figures at the right."""
    return ' class="words"' if len(cell) > 24 else ""
