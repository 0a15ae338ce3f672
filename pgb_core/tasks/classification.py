"""Sequence classification: one label, many labels, or a number, for a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from tokenizers import Tokenizer as Fast
from torch import Tensor
from torch.nn import functional

from pgb_core.data import Data, Row, TextRow, read_labels
from pgb_core.data.problems import Problem, problem_of
from pgb_core.inference.batches import Predict, prepare_texts
from pgb_core.inference.tasks.classification import CLASSIFICATION
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.progress.report import Report
from pgb_core.tasks import trust
from pgb_core.tasks.base import Objective, Source, Subject, Task
from pgb_core.tasks.features import Features, divergence
from pgb_core.tasks.metrics import Metrics, many_labels, numbers, one_label
from pgb_core.tasks.more_text import more_texts
from pgb_core.tasks.texts import singles

_AT_ONCE = 1000  # texts
_TRIED = 256  # tokens of a text that a dense model is tried on

Array = NDArray[np.float64]


class _Head(Objective, Protocol):
    """An objective with its metrics. logits: [rows, labels]."""

    def metrics(self, logits: Array, gold: Array) -> Metrics:
        """Official metrics."""

    def judge(self, logits: Array, gold: Array, labels: Sequence[str]) -> trust.Verdict:
        """Whether labels and predictions can mean the same thing."""


class SingleLabel:
    """One of several labels. targets: [batch], indices."""

    activation = "softmax"
    metrics = staticmethod(one_label)

    def loss(self, logits: Tensor, targets: Tensor, mask: Tensor, reduction: str = "mean") -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(logits, targets, reduction=reduction)

    def draw(self, logits: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """One label each."""
        return torch.multinomial(logits.float().cpu().softmax(-1), 1, generator=generator)[:, 0].to(logits.device)

    def distil(self, logits: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """Divergence of the distributions."""
        return divergence(logits, goal)

    def judge(self, logits: Array, gold: Array, labels: Sequence[str]) -> trust.Verdict:
        """Accuracy against chance and against labels exchanged."""
        return trust.judge_classes(logits.argmax(1).tolist(), gold.astype(int).tolist(), labels)


class MultiLabel:
    """Any number of labels. targets: [batch, labels] of 0 and 1."""

    activation = "sigmoid"
    metrics = staticmethod(many_labels)

    def loss(self, logits: Tensor, targets: Tensor, mask: Tensor, reduction: str = "mean") -> Tensor:
        """Binary cross-entropy, summed over labels: a row counts as much as one with a single label does."""
        total = functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="sum")
        return total if reduction == "sum" else total / len(logits)

    def draw(self, logits: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Each label by itself."""
        return torch.bernoulli(logits.float().cpu().sigmoid(), generator=generator).to(logits.device)

    def distil(self, logits: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """Divergence of the distributions of each label, summed over labels; 0 where they are equal."""
        wanted = goal.sigmoid()
        apart, least = (
            functional.binary_cross_entropy_with_logits(each, wanted, reduction="sum") for each in (logits, goal)
        )
        return (apart - least) / len(logits)

    def judge(self, logits: Array, gold: Array, labels: Sequence[str]) -> trust.Verdict:
        """Entries that agree."""
        return trust.judge_many((logits > 0).astype(float), gold, labels)


class Regression:
    """A number. targets: [batch]."""

    activation = "none"

    def loss(self, logits: Tensor, targets: Tensor, mask: Tensor, reduction: str = "mean") -> Tensor:
        """Squared error."""
        return functional.mse_loss(logits[:, 0], targets.float().view(-1), reduction=reduction)

    def draw(self, logits: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """The prediction with noise of variance 1."""
        return (logits.float().cpu()[:, 0] + torch.randn(len(logits), generator=generator)).to(logits.device)

    def distil(self, logits: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """Squared error."""
        return functional.mse_loss(logits, goal)

    def metrics(self, logits: Array, gold: Array) -> Metrics:
        """Pearson and Spearman."""
        return numbers(logits[:, 0], gold)

    def judge(self, logits: Array, gold: Array, labels: Sequence[str]) -> trust.Verdict:
        """Whether predictions rise with the labels, on their scale."""
        return trust.judge_values(logits[:, 0], gold)


class Probability(Regression):
    """A number that a sigmoid makes of one output, such as a cross-encoder's. targets: [batch], from 0 to 1."""

    activation = "sigmoid"

    def loss(self, logits: Tensor, targets: Tensor, mask: Tensor, reduction: str = "mean") -> Tensor:
        """Binary cross-entropy, as sentence-transformers trains such a head."""
        wanted = targets.float().view(-1)
        return functional.binary_cross_entropy_with_logits(logits[:, 0], wanted, reduction=reduction)

    def draw(self, logits: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """0 or 1, by the probability."""
        return torch.bernoulli(logits.float().cpu()[:, 0].sigmoid(), generator=generator).to(logits.device)

    def metrics(self, logits: Array, gold: Array) -> Metrics:
        """Pearson and Spearman, of what the sigmoid makes of the output, as it is served."""
        return numbers(expit(logits[:, 0]), gold)

    def judge(self, logits: Array, gold: Array, labels: Sequence[str]) -> trust.Verdict:
        """Whether predictions rise with the labels."""
        return trust.judge_numbers(logits[:, 0], gold)


class Classification(Task):
    """Texts in, a score a label out."""

    name = CLASSIFICATION.name
    auto = "SequenceClassification"
    kind = "texts"
    labelled = True
    outputs = CLASSIFICATION.outputs
    per_token = False
    windows = False
    length = 128
    sample = 512
    probes = staticmethod(singles)

    def objective(self, declared: str | None, labels: int) -> _Head:
        """See Task."""
        heads: Mapping[Problem, _Head] = {
            Problem.SINGLE_LABEL: SingleLabel(),
            Problem.MULTI_LABEL: MultiLabel(),
            Problem.REGRESSION: Regression() if declared == Problem.REGRESSION else Probability(),
        }
        return heads[problem_of(declared, labels)]

    def logits(self, said: Any) -> Tensor:
        """See Task."""
        found: Tensor = said.logits
        return found

    def read(self, source: str, data: Data, subject: Subject, labels: str | None) -> Source:
        """See Task."""
        rows = [row for row in data.rows if isinstance(row, TextRow)]
        told = read_labels(rows, subject.labels, subject.problem, labels, source, data.labels)
        return Source(source, rows, told.targets, told.sentence)

    def fault(self, source: Source, subject: Subject) -> str:
        """See Task."""
        if not isinstance(subject.objective, Probability):
            return ""
        beyond = [float(one) for one in source.targets if isinstance(one, int | float) and not 0 <= one <= 1]
        return (
            f"a label is {beyond[0]:g}, and the head gives one number from 0 to 1: its config.json does not name a "
            'regression. Write "problem_type": "regression" there, or give labels from 0 to 1'
            if beyond
            else ""
        )

    def encode(self, source: Source, subject: Subject, tokenizer: Fast, length: int, tell: Report) -> list[Features]:
        """See Task."""
        return encode_texts(source.rows, source.targets, tokenizer, length, subject.side)

    def more(self, source: Source, count: int, seed: int) -> Source:
        """See Task."""
        spans, mixtures = more_texts([row for row in source.rows if isinstance(row, TextRow)], count, seed)
        rows, said = [*spans, *mixtures], f"{len(spans):,} spans and {len(mixtures):,} mixtures of two rows"
        return Source(source.name, rows, [None] * len(rows), said)

    def score(self, source: Source, subject: Subject, tokenizer: Tokenizer, run: Predict) -> Metrics:
        """See Task."""
        head = self.objective(subject.problem, len(subject.labels))
        return head.metrics(_logits(source, tokenizer, run), np.asarray(source.targets, np.float64))

    def judge(self, source: Source, subject: Subject, tokenizer: Tokenizer, run: Predict) -> trust.Verdict:
        """See Task. Of each text no more than 256 tokens are tried."""
        if not source.rows:
            return trust.Verdict("no label to try")
        head = self.objective(subject.problem, len(subject.labels))
        logits = _logits(source, tokenizer.shorter(_TRIED), run)
        return head.judge(logits, np.asarray(source.targets, np.float64), subject.labels)


def _logits(source: Source, tokenizer: Tokenizer, run: Predict) -> Array:
    """[rows, labels]."""
    rows = [row for row in source.rows if isinstance(row, TextRow)]
    texts = [row.text if row.pair is None else (row.text, row.pair) for row in rows]
    return np.stack(run(prepare_texts(tokenizer, texts))).astype(np.float64)


def encode_texts(
    rows: Sequence[Row], targets: Sequence[object], tokenizer: Fast, length: int, side: str = "right"
) -> list[Features]:
    """Inputs to learn from, of at most `length` tokens, cut on that side."""
    texts = [row for row in rows if isinstance(row, TextRow)]
    found: list[Features] = []
    tokenizer.enable_truncation(length, direction=side)
    try:
        for start in range(0, len(texts), _AT_ONCE):  # an encoding takes thirty times as much as its text
            inputs = [row.text if row.pair is None else (row.text, row.pair) for row in texts[start : start + _AT_ONCE]]
            for n, encoding in enumerate(tokenizer.encode_batch(inputs), start):
                cut = bool(encoding.overflowing)
                found.append(Features(encoding.ids, encoding.type_ids, targets[n], n, cut))
    finally:
        tokenizer.no_truncation()
    return found
