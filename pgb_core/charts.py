"""Scales, axes and marks of charts as SVG. Colours are CSS classes of the page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom
LABEL = 6.2  # width of a character beside a point, about
TIMES, DASH = "\u00d7", "\u2013"
_SHAPES = ("circle", "square", "triangle", "diamond")


def number(value: float | None) -> str:
    """As a reader wants it: three digits or so; a dash for what was not measured."""
    if value is None:
        return DASH
    if abs(value) >= 9.95 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 0.95 else f"{value:.2g}"


def percent(share: float) -> str:
    """A whole number of hundredths."""
    return f"{100 * share:.0f}%"


@dataclass(frozen=True)
class Scale:
    """From values low..high to pixels start..end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel, kept within the ends."""
        if self.log:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, part)) * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values between the ends."""
        if self.log:
            for steps in ((1, 2, 5), (1, 3), (1,)):
                powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
                found = [step * 10.0**power for power in powers for step in steps]
                found = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
                if len(found) <= most + 2:
                    break
            return found
        size = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        size = next(size * n for n in (1, 2, 5, 10) if (self.high - self.low) / (size * n) <= most)
        first = math.ceil(self.low / size)
        return [n * size for n in range(first, math.floor(self.high / size + 1e-9) + 1)]


def top(values: Iterable[float | None], least: float = 1.0) -> float:
    """An end of a scale with a little room above the largest value."""
    return 1.08 * max([least, *(value for value in values if value is not None)])


def log_ends(values: Iterable[float | None]) -> tuple[float, float]:
    """Ends of a logarithmic scale around all values above 0."""
    found = [value for value in values if value] or [1.0, 10.0]
    return 0.8 * min(found), 1.3 * max(found)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(words)}</text>'


def axes(x: Scale, y: Scale, x_label: str, y_label: str, title: str = "", ticks: str = "xy", suffix: str = "") -> str:
    """Grid and labels of one panel; `ticks` names the axes with numbers, and `suffix` follows those of x."""
    left, right, bottom, high = x.start, x.end, y.start, y.end
    parts = [
        f'<path class="grid" d="M{left} {y(tick)}H{right}"/>'
        + (text(left - 8, y(tick) + 4, f"{tick:,g}", "tick", "end") if "y" in ticks else "")
        for tick in y.ticks()
    ]
    if "x" in ticks:
        parts += [text(x(tick), bottom + 18, f"{tick:,g}{suffix}", "tick") for tick in x.ticks()]
    parts.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>')
    if x_label:
        parts.append(text((left + right) / 2, bottom + 38, x_label, "label"))
    if y_label:
        middle = (bottom + high) / 2
        parts.append(f'<g transform="rotate(-90 {left - 56} {middle})">{text(left - 56, middle, y_label, "label")}</g>')
    if title:
        parts.append(text(left, high - 12, title, "title", "start"))
    return "".join(parts)


def line(points: Sequence[Point], kind: str) -> str:
    """A line through pixels."""
    path = "L".join(f"{x} {y}" for x, y in points)
    return f'<path class="line {kind}" d="M{path}"/>' if len(points) > 1 else ""


def marker(x: float, y: float, series: int, told: str = "", size: float = 4.5) -> str:
    """The shape and colour of a series; `told` is shown to a pointer and read to those who listen."""
    shape = _SHAPES[series % len(_SHAPES)]
    if shape == "circle":
        drawn = f'<circle cx="{x}" cy="{y}" r="{size}"'
    elif shape == "square":
        drawn = f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}"'
    else:
        half, low = (size * 1.2, size) if shape == "triangle" else (size * 1.1, 0.0)
        tail = f"L{x} {y + 1.3 * size:.1f}" if shape == "diamond" else ""
        drawn = f'<path d="M{x} {y - 1.3 * size:.1f}L{x + half:.1f} {y + low:.1f}{tail}L{x - half:.1f} {y + low:.1f}Z"'
    title = f"<title>{html.escape(told)}</title>" if told else ""
    return f'{drawn} class="mark c{series}">{title}</{drawn[1:].split()[0]}>'


def bar(x: float, y: float, width: float, height: float, kind: str, told: str = "") -> str:
    """A filled rectangle from its upper left corner."""
    title = f"<title>{html.escape(told)}</title>" if told else ""
    size = f'width="{width:.1f}" height="{max(0.0, height):.1f}"'
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" {size}>{title}</rect>'


class Labels:
    """Puts texts beside points, where they meet neither another text nor another point.

    area: left, top, right and bottom of where they may be. points: x and y of every marker.
    """

    def __init__(self, area: Box, points: Iterable[Point]) -> None:
        self._area = area
        self._taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]

    def beside(self, x: float, y: float, words: str, kind: str) -> str:
        """The text of a point, right or left of it, else under or over it; empty where there is no room."""
        width = LABEL * len(words)
        sides = [(anchor, down) for anchor in ("start", "end") for down in (-8.0, 4.0, 16.0)]
        for anchor, down in (*sides, ("middle", 20.0), ("middle", -12.0)):
            at, start = {"start": (x + 9, x + 9), "end": (x - 9, x - 9 - width), "middle": (x, x - width / 2)}[anchor]
            box = (start, y + down - 10, start + width, y + down + 2)
            if _within(box, self._area) and not any(_meet(box, other) for other in self._taken):
                self._taken.append(box)
                return text(at, y + down, words, kind, anchor)
        return ""


def _within(box: Box, area: Box) -> bool:
    return box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def style(own: str) -> str:
    """The style sheet of a page of charts. own: the rules that other such pages do not have."""
    return files("pgb_core").joinpath("charts.css").read_text("utf-8") + own


def svg(width: int, height: int, label: str, body: str) -> str:
    """A picture that says what it shows."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(label)}" '
        f'viewBox="0 0 {width} {height}">{body}</svg>'
    )
