"""Zero-shot classification: each candidate label is a hypothesis that the text entails or not.

The rules are those of the `zero-shot-classification` pipeline of transformers 5. A model of natural language inference
is a classifier, so this is not a task of its own: its graphs are those of classification.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pgb_core.inference.tasks.classification import activate

TEMPLATE = "This example is {}."
_PLACE = "{}"


@lru_cache(maxsize=64)
def entailment(labels: tuple[str, ...]) -> int | None:
    """Which label says that a text entails a hypothesis: the first that begins with `entail`, in any case.

    None where there is none, or no label beside it.
    """
    found = [n for n, label in enumerate(labels) if label.lower().startswith("entail")]
    return found[0] if found and len(labels) > 1 else None


def hypothesis(template: str, label: str) -> str:
    """The template with the label in the place of `{}`. Other braces are text."""
    return template.replace(_PLACE, label)


def fits(template: str) -> bool:
    """Whether a template has one place for a label."""
    return template.count(_PLACE) == 1


def candidates(logits: NDArray[np.float64], labels: Sequence[str], several: bool) -> NDArray[np.float64]:
    """Scores of candidate labels, [texts, candidates], from logits [texts, candidates, labels].

    several: each candidate by itself, entailment against contradiction, as where there is a single one; otherwise
    the candidates share 1. Contradiction is the first label, or the last where entailment is the first.
    Raises ValueError for labels without entailment.
    """
    yes = entailment(tuple(labels))
    if yes is None:
        raise ValueError("no label says entailment")
    if several or logits.shape[1] == 1:
        no = -1 if yes == 0 else 0
        return activate(logits[..., [no, yes]], "softmax")[..., 1]
    return activate(logits[..., yes], "softmax")
