"""How long the inputs of a data file are."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from pgb_core.errors import DataError
from pgb_core.inference.batches import prepare_question, prepare_texts
from pgb_core.inference.errors import InferenceError
from pgb_core.inference.tasks.qa import QA, Question, Windowing
from pgb_core.inference.tokenizer import Tokenizer
from service.planning.arrivals import Lengths
from service.planning.files import lines, rows

_MOST_TEXTS = 10_000  # of a data file; more of them change no figure


def read_texts(path: Path, task: str, tokenizer: Tokenizer) -> dict[Lengths, float]:
    """How long the inputs of a data file are, and how often.

    The file has lines of text (.txt), or JSON lines with `text`, and `pair` where there are two, or with `question` and
    `context`, whose windows belong together. At most 10,000 rows are read. Raises DataError.
    """
    given = list(islice(lines(path) if path.suffix.lower() == ".txt" else rows(path), _MOST_TEXTS))
    try:
        if task == QA.name:
            asked = [Question(_string(row["question"]), _string(row["context"])) for _, row in given]
            kinds = [tuple(len(w.tokens) for w in prepare_question(tokenizer, q, Windowing())) for q in asked]
        else:
            pairs = [(_string(row["text"]), row.get("pair")) for _, row in given]
            texts = [text if pair is None else (text, _string(pair)) for text, pair in pairs]
            kinds = [(len(tokens),) for tokens in prepare_texts(tokenizer, texts)]
    except (KeyError, TypeError, InferenceError):
        needed = "`question` and `context`" if task == QA.name else "`text`"
        raise DataError(f"{path}: each row needs {needed}; docs/capacity.md says what is read") from None
    if not kinds:
        raise DataError(f"{path}: there is no text in it")
    return {kind: float(count) for kind, count in Counter(kinds).items()}


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
