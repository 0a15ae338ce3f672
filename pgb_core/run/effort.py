"""Estimates the cost of a whole job before it begins, in tokens through the dense model."""

from __future__ import annotations

from collections.abc import Mapping

from pgb_core.data import Row
from pgb_core.run.run import Run
from pgb_core.tasks import Source

EXPORT = 10_000
CHARACTERS = 4  # of a token


def job_effort(run: Run, method: Mapping[str, float]) -> dict[str, float]:
    """Expected work by the title of the stage, in order. method: that of the method's stages."""
    held_out = run.inputs.held_out
    found = {**_scoring("dense", held_out, 1.0), **method, **_scoring("compressed", held_out, run.config.keep)}
    found["Exporting every form and holding it against the model"] = EXPORT
    return found


def judging_effort(run: Run, name: str) -> dict[str, float]:
    """Expected work of `Judge.between`, with a model of the size that is asked for."""
    return _scoring(name, run.inputs.some, run.config.keep)


def _scoring(name: str, rows: Source | None, size: float) -> dict[str, float]:
    return {f"Scoring the {name} model": size * sum(map(_tokens, rows.rows))} if rows else {}


def _tokens(row: Row) -> int:
    return 2 + sum(map(len, row.texts)) // CHARACTERS
