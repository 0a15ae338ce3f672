"""Draws the pictures of the documentation anew.

    python -m benchmarks.pictures             # docs/images/pipeline.svg and peers.svg
    python -m benchmarks.pictures --ui .demo  # and the pictures of the page, which take a browser and the demo's models

The load report draws its own pictures: `python -m benchmarks.load.run`.
"""

from __future__ import annotations

import argparse
import html
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.report import sheet
from benchmarks.peers import report

PIPELINE, PEERS = Path("docs/images/pipeline.svg"), Path("docs/images/peers.svg")
WIDTH, HEIGHT, MARGIN = 960, 332, 24
CELLS, CELL, GROUPS = 12, 8, 3  # a matrix is drawn as cells by cells of so many pixels
EM = 0.56  # mean width of a character; the width of each text is fixed, so that it fits its box in every font
INSET = 10  # between a text and the box around it
STEPS = (
    ("score", "importance of every weight"),
    ("permute and group", "important ones side by side"),
    ("prune", "small dense products are left"),
    ("compensate, re-finetune", "ridge, labels, distillation"),
    ("export", "checked against PyTorch"),
)
SERVED = (
    ("clients", "HTTP, or in Python"),
    ("tokenize", "windows of long contexts"),
    ("queue", "like lengths, bounded"),
    ("infer", "ONNX Runtime, OpenVINO"),
    ("decode", "labels, or spans of text"),
)
STYLE = (
    ".bg{fill:#fff}.t{fill:#1f2328}.m{fill:#59636e}.l{stroke:#8c959f;fill:none}.b{fill:#f6f8fa;stroke:#d1d9e0}"
    ".k{fill:#0969da}.w{fill:#1a7f37}@media (prefers-color-scheme:dark){.bg{fill:#0d1117}.t{fill:#e6edf3}"
    ".m{fill:#9198a1}.l{stroke:#656c76}.b{fill:#151b23;stroke:#3d444d}.k{fill:#4493f8}.w{fill:#3fb950}}"
)


def text(x: float, y: float, said: str, room: float, size: float = 11, css: str = "m", anchor: str = "middle") -> str:
    """A line of text of fixed width: its estimate, and at most `room`."""
    width = min(room, EM * size * len(said))
    bold = ' font-weight="600"' if css == "t" else ""
    return (
        f'<text class="{css}" x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}"{bold} '
        f'textLength="{width:.0f}" lengthAdjust="spacingAndGlyphs">{html.escape(said)}</text>'
    )


def pipeline() -> str:
    """How the project works, as SVG."""
    importance, order = _importance()
    grouped = importance[np.ix_(order, order)]
    inside = np.kron(np.eye(GROUPS), np.ones((CELLS // GROUPS,) * 2)) > 0
    column = (WIDTH - 2 * MARGIN) / len(STEPS)
    middles = [MARGIN + column * (n + 0.5) for n in range(len(STEPS))]
    left = [middle - CELLS * CELL / 2 for middle in middles]
    top, centre = 60, 60 + CELLS * CELL / 2
    box = (middles[-1] - 66, centre - 36, 132, 72)
    body = [
        text(MARGIN, 34, "Offline: pgb compress", 300, 15, "t", "start"),
        *_cells(left[0], top, importance, "k"),
        *_cells(left[1], top, grouped, "k"),
        *_cells(left[2], top, np.where(inside, grouped, 0), "k"),
        _frame(left[2], top),
        *_cells(left[3], top, np.where(inside, 0.35 + 0.65 * grouped, 0), "w"),
        _frame(left[3], top),
        _box(*box),
        text(middles[-1], centre - 12, "artifact", box[2] - 2 * INSET, 13, "t"),
        text(middles[-1], centre + 6, "graphs, hashes,", box[2] - 2 * INSET),
        text(middles[-1], centre + 22, "measured figures", box[2] - 2 * INSET),
    ]
    for middle, (title, said) in zip(middles, STEPS, strict=True):
        body.append(text(middle, 186, title, column - 2 * INSET, 13, "t"))
        body.append(text(middle, 204, said, column - 2 * INSET))
    ends = [*((x + CELLS * CELL) for x in left[:4])]
    starts = [*left[1:4], box[0]]
    body += [_arrow(end + 8, start - 8, centre) for end, start in zip(ends, starts, strict=True)]
    body += [
        text(MARGIN, 246, "Online: pgb serve", 300, 15, "t", "start"),
        text(WIDTH - MARGIN, 246, "every answer says how long each stage took", 400, 12, "m", "end"),
    ]
    gap = 20
    width = (WIDTH - 2 * MARGIN - gap * (len(SERVED) - 1)) / len(SERVED)
    for number, (title, said) in enumerate(SERVED):
        x = MARGIN + number * (width + gap)
        body.append(_box(x, 262, width, 52))
        body.append(text(x + width / 2, 283, title, width - 2 * INSET, 13, "t"))
        body.append(text(x + width / 2, 302, said, width - 2 * INSET))
        if number:
            body.append(_arrow(x - gap + 2, x - 2, 288))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-labelledby="t d" font-family="system-ui, sans-serif">\n'
        '<title id="t">How pgb-serve works</title>\n'
        '<desc id="d">A fine-tuned encoder is scored, permuted into groups, pruned, compensated, re-finetuned and '
        "exported to ONNX; the artifact is served over HTTP with the latency of every request.</desc>\n"
        f"<style>{STYLE}</style>\n"
        f'<rect class="bg" width="{WIDTH}" height="{HEIGHT}" rx="8"/>\n'
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#8c959f"/></marker></defs>\n' + "\n".join(body) + "\n</svg>\n"
    )


def peers(figures: Path = Path("benchmarks/results/peers.json")) -> str:
    """The highest rate of each server, as SVG."""
    return alone(report.rates(json.loads(figures.read_text("utf-8"))), sheet())


def alone(drawn: str, css: str) -> str:
    """A picture of a page as a file of its own. css: of the page."""
    head, end, rest = drawn.partition(">")
    paper = '<rect width="100%" height="100%" style="fill:var(--surface)"/>'
    return f'{head} font-family="system-ui, sans-serif"{end}<style>{css}</style>{paper}{rest}\n'


def _importance() -> tuple[NDArray[np.float64], Sequence[int]]:
    """Made-up importance of a small matrix, and the order in which its groups appear."""
    draw = np.random.default_rng(3)
    order = draw.permutation(CELLS)
    group = np.empty(CELLS, int)
    group[order] = np.arange(CELLS) * GROUPS // CELLS
    same = group[:, None] == group[None, :]
    return np.where(same, draw.uniform(0.55, 1.0, same.shape), draw.uniform(0.05, 0.25, same.shape)), order.tolist()


def _cells(x: float, y: float, values: NDArray[np.float64], css: str) -> Iterator[str]:
    """A matrix; what is 0 is not drawn."""
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if value:
                yield (
                    f'<rect class="{css}" x="{x + CELL * column:g}" y="{y + CELL * row:g}" width="{CELL - 1}" '
                    f'height="{CELL - 1}" opacity="{value:.2f}"/>'
                )


def _frame(x: float, y: float) -> str:
    side = CELLS * CELL + 3
    return f'<rect class="l" x="{x - 2:g}" y="{y - 2:g}" width="{side}" height="{side}" stroke-dasharray="3 3"/>'


def _box(x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="b" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>'


def _arrow(start: float, end: float, y: float) -> str:
    return f'<path class="l" stroke-width="1.5" d="M{start:g} {y:g}H{end:g}" marker-end="url(#a)"/>'


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ui", type=Path, help="the folder of the demo's models")
    args = parser.parse_args()
    PIPELINE.write_text(pipeline(), "utf-8")
    PEERS.write_text(peers(), "utf-8")
    if args.ui:
        subprocess.run([sys.executable, "-m", "tests.ui.screenshots", str(args.ui)], check=True)


if __name__ == "__main__":
    main()
