"""Estimates the cost of a whole job before it begins, in tokens through the dense model."""

from __future__ import annotations

from collections.abc import Mapping

from pgb_core.data import Question, Row
from pgb_core.run.run import Run

EXPORT = 10_000
CHARACTERS = 4  # of a token


def stages(run: Run, method: Mapping[str, float]) -> dict[str, float]:
    """Expected work by the title of the stage, in order. method: that of the method's stages."""
    found = dict(method)
    if run.inputs.held_out:
        tokens = sum(map(_tokens, run.inputs.held_out.rows))
        found["Scoring the dense model"] = tokens
        found["Scoring the compressed model"] = tokens * run.config.keep
    found["Exporting every form and holding it against the model"] = EXPORT
    return found


def _tokens(row: Row) -> int:
    texts = (row.question, row.context) if isinstance(row, Question) else (row.text, row.pair or "")
    return 2 + sum(map(len, texts)) // CHARACTERS
