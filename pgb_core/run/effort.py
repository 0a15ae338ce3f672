"""Estimates the cost of a whole job before it begins, in tokens through the dense model."""

from __future__ import annotations

from collections.abc import Mapping

from pgb_core.data import Row
from pgb_core.export.forms import form_of
from pgb_core.export.write import MOST_COMPARED
from pgb_core.run.run import Run
from pgb_core.tasks import Source

EXPORTING = "Exporting every form and holding it against the model"
FORM = 5_000  # to build and open a form
CHARACTERS = 4  # of a token


def job_effort(run: Run, method: Mapping[str, float]) -> dict[str, float]:
    """Expected work by the title of the stage, in order. method: that of the method's stages."""
    held_out = run.inputs.held_out
    found = {**_scoring("dense", held_out, 1.0), **method, **_scoring("compressed", held_out, run.config.keep)}
    return {**found, EXPORTING: _exporting(run)}


def _exporting(run: Run) -> float:
    """Each form and the model run the same rows, and a form in low precision is scored on all that are held out."""
    inputs, config = run.inputs, run.config
    learned = sum(len(item.ids) for item in inputs.learned[len(inputs.observed) :][:MOST_COMPARED])
    rows = inputs.held_out.rows if inputs.held_out else []
    compared = sum(map(_tokens, rows[:MOST_COMPARED])) if rows else learned
    scored = sum(map(_tokens, rows))
    low = sum(form_of(name).limits is not None for name in config.forms)
    return FORM * len(config.forms) + config.keep * (2 * compared * len(config.forms) + scored * low)


def judging_effort(run: Run, name: str) -> dict[str, float]:
    """Expected work of `Judge.between`, with a model of the size that is asked for."""
    return _scoring(name, run.inputs.some, run.config.keep)


def _scoring(name: str, rows: Source | None, size: float) -> dict[str, float]:
    return {f"Scoring the {name} model": size * sum(map(_tokens, rows.rows))} if rows else {}


def _tokens(row: Row) -> int:
    return 2 + sum(map(len, row.texts)) // CHARACTERS
