"""What each stage of a compression is expected to cost, before it begins.

The unit is one token through the dense model. The factors are rough: they were measured once, on one
thread of a CPU, and serve to tell how much of a job is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.config import CompressConfig
from pgb_core.data import Question, Row
from pgb_core.tasks.features import Features

# A gradient of every weight a sample, and a forward and a backward pass a token.
SCORE_SAMPLE, SCORE_TOKEN = 25, 3
SEARCH = {"shared": 20_000, "disjoint": 1_500}
# One pass of either model and the products of moments a token; the solutions.
COMPENSATE_TOKEN, COMPENSATE = 2.5, 6_000
# A forward and a backward pass of what is left, and the optimiser.
TRAIN_TOKEN = 3.5
EXPORT = 10_000
CHARACTERS = 4  # of a token


def stages(
    config: CompressConfig, calibration: Sequence[Features], training: Sequence[Features], held_out: Sequence[Row]
) -> dict[str, float]:
    """Expected work by the title of the stage, in order."""
    found: dict[str, float] = {}
    if config.keep < 1:
        tokens = sum(len(item.ids) for item in calibration)
        found["Scoring every weight"] = SCORE_SAMPLE * len(calibration) + SCORE_TOKEN * tokens
        found["Searching for groups"] = SEARCH[config.grouping]
        found["Compensating layer by layer"] = COMPENSATE + COMPENSATE_TOKEN * tokens
        if config.epochs:
            passes = config.epochs * sum(len(item.ids) for item in training)
            found["Re-finetuning"] = passes * (TRAIN_TOKEN * config.keep + config.distill)
    if held_out:
        tokens = sum(map(_tokens, held_out))
        found["Scoring the dense model"] = tokens
        found["Scoring the compressed model"] = tokens * config.keep
    found["Exporting and checking parity"] = EXPORT
    return found


def _tokens(row: Row) -> int:
    texts = (row.question, row.context) if isinstance(row, Question) else (row.text, row.pair or "")
    return 2 + sum(map(len, texts)) // CHARACTERS
