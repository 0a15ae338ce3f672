"""The table of the demo: what each model scores and how long it takes, dense and compressed, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from pgb_core.artifact import FP32, Artifact
from pgb_core.measure import comparison

WIDTH = 80  # of a terminal, which the table fits
NOTE = """\
First line: milliseconds of the middle turn, and what nine of ten are below.
Second line: times as fast as the fastest dense form, the middle, and what
eight of ten are within. A dense form beside fp32 is timed and not scored.
"""


def compared(models: Sequence[tuple[Artifact, str]]) -> Table:
    """The table of artifacts, each with its metric: `accuracy`, as a share, or `f1`, in percent."""
    shapes = [f"{timed['batch']} x {timed['tokens']}" for timed in models[0][0].manifest.measured["speed"]["rows"]]
    found = Table(title="Dense against compressed, on this machine", box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    for name in ("model, form", "score"):
        found.add_column(name, no_wrap=True)
    for shape in shapes:
        found.add_column(f"{shape}, ms", justify="right", no_wrap=True)
    for artifact, metric in models:
        for cells in rows(artifact, metric):
            found.add_row(*cells)
        found.add_section()
    return found


def rows(artifact: Artifact, metric: str) -> list[list[str]]:
    """The rows of a model: dense in fp32, dense in the form that is fastest at any size, and every form of the
    artifact.

    A dense form other than fp32 is only timed, so it has no score.
    """
    manifest, speed = artifact.manifest, artifact.manifest.measured["speed"]
    accuracy = manifest.measured["accuracy"]
    share = manifest.weights["kept"] / manifest.weights["dense"]
    dense = [comparison.dense(FP32), *(timed["fastest_dense"] for timed in speed["rows"])]

    def row(form: str, score: str, kept: float) -> list[str]:
        name = form.removeprefix("dense ")
        size = f"{name}, {speed['bytes'][form] / 1e6:.0f} MB"
        what = "dense" if kept == 1 else f"at {kept:.0%}"
        return [f"{manifest.name} {what}\n{size}", score, *_times(speed["rows"], form)]

    lines = [
        row(form, _score(accuracy["dense"], metric) if form == dense[0] else "", 1) for form in dict.fromkeys(dense)
    ]
    for form, record in manifest.forms.items():
        lines.append(row(form, _score(record.measured.get("accuracy", accuracy["compressed"]), metric), share))
    return lines


def _score(metrics: Mapping[str, float], metric: str) -> str:
    return f"acc. {100 * metrics[metric]:.1f}" if metric == "accuracy" else f"F1 {metrics[metric]:.1f}"


def _times(timings: Sequence[Mapping[str, Any]], form: str) -> Iterator[str]:
    for timed in timings:
        middle, most = timed["median"][form], timed["p90"][form]
        low, high = timed["speedup_range"][form]
        yield f"{_short(middle)}, {_short(most)}\n{timed['speedup'][form]:.1f}x {low:.1f}-{high:.1f}"


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"
