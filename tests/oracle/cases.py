"""The cases of `cases.json`: what `record.py` asks of the pipeline, and `test_oracle.py` of the product."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WRITTEN = json.loads((Path(__file__).parent / "cases.json").read_text("utf-8"))


@dataclass(frozen=True)
class Case:
    """A question, with parameters in the pipeline's terms."""

    name: str
    question: str
    context: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Several:
    """Inputs that hold several questions, as the pipeline and clients of Hugging Face take them."""

    name: str
    inputs: Any
    parameters: dict[str, Any]


def _cases() -> Iterator[Case]:
    for case in _WRITTEN["cases"]:
        context = case["context"]
        if isinstance(context, list):
            context = " ".join(_WRITTEN["texts"][name] for name in context)
        yield Case(case["name"], case["question"], context, case.get("parameters", {}))


CASES = tuple(_cases())
SEVERAL = tuple(Several(case["name"], case["inputs"], case.get("parameters", {})) for case in _WRITTEN["several"])
# What the vocabularies of the made-up checkpoints are of.
TEXTS = (*_WRITTEN["texts"].values(), *(case.question for case in CASES))
