"""What makes a search impossible, asked before any training."""

from __future__ import annotations

from pathlib import Path

from pgb_core.artifact import MANIFEST, Manifest
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.export.forms import form_of, runtime_here
from pgb_core.progress.report import Report
from pgb_core.run.inputs import tell_seen
from pgb_core.run.output import check_place
from pgb_core.run.run import Run
from pgb_core.tasks.metrics import Metrics
from pgb_core.tasks.parts import seen

FEWEST = 40  # rows of a half, below which nothing can be promised
# Share of the rows of --eval that may be among those to learn from: datasets have a few natural ones, CoLA 1.5%.
MOST_SEEN = 0.05


def check_free(config: CompressConfig) -> None:
    """Raises PGBError when no artifact may be written at `out`."""
    check_place(config.out, config.checkpoint)
    if not config.force and (Path(config.out) / MANIFEST).exists():
        raise ConfigError(f"{config.out}: exists; --force replaces it when the new artifact is done, or choose another")


def check_forms(config: CompressConfig, report: Report) -> None:
    """Say which forms cannot be judged here. Raises ConfigError when that leaves none."""
    here = [form for form in config.forms if runtime_here(form)]
    if not here:
        raise ConfigError("--forms: the runtime of none of these is installed, so no loss can be told; add fp32")
    if config.min_speedup is not None and all(form_of(form).devices[0] != "cpu" for form in here):
        raise ConfigError("--min-speedup is measured on the CPU, and none of --forms is for it; add fp32")
    for form in config.forms:
        if form not in here:
            report.warn(f"form {form}: its runtime is not installed, so nothing is promised of it")


def check_rows(choosing: Run, confirming: Run) -> int:
    """How many rows confirm. Raises ConfigError when they are too few, or too many of --eval are learned from."""
    halves = [(run.inputs.held_out, run.inputs.sources) for run in (choosing, confirming)]
    counts = [(len(rows.rows), seen(rows, learned)) for rows, learned in halves if rows is not None]
    (choose, _), (confirm, _) = counts
    if min(choose, confirm) < FEWEST:
        raise ConfigError(
            f"--eval: {choose:,} rows would choose the size and {confirm:,} confirm it, and {FEWEST} of each are the "
            "least that tell a loss; give more rows. Questions about one context stay together"
        )
    every, known = (sum(column) for column in zip(*counts, strict=True))
    if known > 1 and known > MOST_SEEN * every:
        raise ConfigError(
            f"--eval: {known:,} of {every:,} rows are among the rows to learn from, too many to tell a loss (at most "
            f"{MOST_SEEN:.0%} may be); take them out of one of the files"
        )
    tell_seen("--eval", known, every, choosing.report)
    return confirm


def check_defined(dense: Metrics | None) -> Metrics:
    """The same. Raises ConfigError where the dense model has no score, so that no loss can be told."""
    if dense is None or dense.points() is None:
        reason = f" ({dense.reasons[dense.main]})" if dense is not None and dense.reasons[dense.main] else ""
        name = "the metric" if dense is None else f"{dense.main} of the dense model"
        raise ConfigError(f"--eval: {name} is not defined on half of the rows{reason}; give more, or other ones")
    return dense


def run_here(manifest: Manifest) -> list[str]:
    """The forms that were run when the artifact was written; others lack their runtime or device."""
    return [name for name, record in manifest.forms.items() if record.ran]
