"""Runs `pgb compare`: makes the points, times them, writes the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pgb_core.checkpoints.load import name_of
from pgb_core.compare.config import CompareConfig
from pgb_core.compare.files import write
from pgb_core.compare.page import Report, distrust, judged, page
from pgb_core.compare.points import SETTINGS, Comparison, Points
from pgb_core.compare.rows import DENSE, Candidate, Row, advice
from pgb_core.compare.timing import BASELINE, Measured, timed
from pgb_core.errors import ConfigError
from pgb_core.export.forms import form_of, runtime_here
from pgb_core.machine import facts
from pgb_core.progress.report import Report as Progress
from pgb_core.run.workspace import locked
from pgb_core.tasks.metrics import standard_error
from pgb_core.threads import threads

REPORT, FIGURES = "report.html", "report.json"


def compare(config: CompareConfig, progress: Progress) -> Report:
    """Make what is missing of the points, time all of them together, and write report.html and report.json.

    Every finished point is kept: the same command goes on from there. Raises PGBError.
    """
    _check_own(Path(config.out))
    if not any(runtime_here(form) and form_of(form).devices[0] == "cpu" for form in config.forms):
        raise ConfigError("--forms: points are timed on the CPU, and none of these runs on it here; add fp32")
    with locked(Path(config.out), progress.warn), threads(config.threads) as count:
        points = Points(config, progress)
        rows = list(points.made())
        made = {row.point.name: points.artifact(row.point) for row in rows if not row.refused}
        dense = made.pop(DENSE)
        progress.stage("Timing every form beside the dense model")
        times = timed(config.checkpoint, dense, made, count, config.seconds, progress.advance, progress.warn)
    report = _report(config, points.common, rows, times)
    folder = Path(config.out)
    write(folder / REPORT, page(report))
    write(folder / FIGURES, json.dumps(asdict(report), indent=1, allow_nan=False) + "\n")
    return report


def _check_own(folder: Path) -> None:
    """Raises ConfigError where a report stands that no comparison wrote: it would be replaced."""
    for name in (REPORT, FIGURES):
        if (folder / name).exists() and not (folder / SETTINGS).exists():
            raise ConfigError(
                f"{folder}: holds {name} and no {SETTINGS}, so no comparison wrote it; move it away, or choose another "
                "--out"
            )


def _report(config: CompareConfig, common: Comparison, rows: Sequence[Row], measured: Measured) -> Report:
    shapes = list(measured.times[DENSE][BASELINE])
    shape = shapes[-1]  # the most work
    candidates = [_candidate(row, form, times[shape]) for row in rows for form, times in _of(row, measured)]
    fused = measured.times[DENSE][BASELINE][shape]
    candidates.append(Candidate(DENSE, DENSE, 1.0, BASELINE, common.dense, fused, measured.fused, dense=True))
    return Report(
        name=name_of(config.checkpoint),
        task=common.task,
        metric=common.metric,
        judged=common.rows,
        dense=common.dense,
        error=standard_error(common.metric, common.dense, common.rows),
        rows=rows,
        candidates=candidates,
        shape=shape,
        times=measured.times,
        machine=facts(),
        busy=measured.busy,
    )


def _of(row: Row, measured: Measured) -> list[tuple[str, dict[str, float]]]:
    """The forms of a row that were both judged and timed."""
    return [(form, times) for form, times in measured.times.get(row.point.name, {}).items() if form in row.scores]


def _candidate(row: Row, form: str, time: float) -> Candidate:
    point = row.point
    dense = point.name == DENSE
    method = DENSE if dense else point.method
    return Candidate(point.name, method, row.kept, form, row.scores[form], time, row.bytes[form], dense)


def table(report: Report) -> str:
    """For a terminal: a line a candidate, the best scores first, then what to take."""
    width = max([5, *(len(one.name) for one in report.candidates)])
    lines = [f"{'point':{width}} {'form':14} {report.metric:>9} {'to dense':>9} {'ms':>9} {'MB':>7}   {report.shape}"]
    for one in sorted(report.candidates, key=lambda c: (not c.dense, -c.score)):
        lines.append(
            f"{one.name:{width}} {one.form:14} {one.score:9.2f} {one.score - report.dense:+9.2f} "
            f"{one.time:9.2f} {one.bytes / 1e6:7.1f}"
        )
    lines += [f"{row.point.name}: no artifact ({row.refused})" for row in report.rows if row.refused]
    said = [*advice(report.candidates, report.dense, report.error, report.metric), *distrust(report)]
    return "\n".join([*lines, f"on {judged(report)}", "", *said])
