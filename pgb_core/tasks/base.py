"""What a task defines for the job: its rows, its inputs, its losses and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from tokenizers import Tokenizer as Fast
from torch import Tensor

from pgb_core.data import Data, QuestionRow, Row
from pgb_core.data.words import plain
from pgb_core.inference.batches import Predict
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.progress.report import Report
from pgb_core.tasks.features import Features
from pgb_core.tasks.metrics import Metrics
from pgb_core.tasks.texts import Text
from pgb_core.tasks.trust import Verdict


class Objective(Protocol):
    """What a head is trained for.

    logits: [batch, labels], or [batch, tokens, 2]; mask: [batch, tokens], whether a token is real.
    """

    activation: str

    def loss(self, logits: Tensor, targets: Tensor, mask: Tensor, reduction: str = "mean") -> Tensor:
        """Negative log-likelihood of the targets, a scalar."""

    def draw(self, logits: Tensor, mask: Tensor, generator: Any) -> Tensor:
        """Targets drawn from the predicted distribution, shaped as `loss` wants them."""

    def distil(self, logits: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """How far the prediction is from a teacher's logits, a scalar; 0 where both are the same."""


@dataclass(frozen=True)
class Source:
    """The rows of one file with what their labels mean to the head, and how they were read, in words.

    targets: of a text its label, of a question its answers; None without a label.
    """

    name: str
    rows: Sequence[Row]
    targets: Sequence[object]
    reading: str

    @property
    def short(self) -> str:
        """The name's last part, for what is told."""
        return plain(self.name.rstrip("/").rpartition("/")[2])

    @property
    def unlabelled(self) -> Source:
        """The same rows without their labels and answers."""
        rows = [replace(row, answers=None) if isinstance(row, QuestionRow) else row for row in self.rows]
        return replace(self, rows=rows, targets=[None] * len(rows))

    def picked(self, places: Sequence[int]) -> Source:
        """Some of the rows."""
        return Source(self.name, [self.rows[n] for n in places], [self.targets[n] for n in places], self.reading)


@dataclass(frozen=True)
class Subject:
    """What must be known of a model to read rows for it and to score it.

    problem: the checkpoint's `problem_type`. side: 'right' or 'left', the end of a text to learn from that is cut.
    """

    task: Task
    labels: tuple[str, ...]
    problem: str | None
    side: str = "right"

    @property
    def objective(self) -> Objective:
        """What its head is trained for."""
        return self.task.objective(self.problem, len(self.labels))


class Task(Protocol):
    """One task. There is one object of each; what differs between checkpoints is in `Subject`.

    name: as the command line and the manifest say it. auto: transformers' class of its models, which architectures are
    named for. kind: of the rows that it reads, 'texts' or 'questions'. labelled: whether its head's outputs have names.
    outputs: of its graph. per_token: whether they are [batch, tokens] each, and not [batch, labels]. windows: whether
    a second text that is too long is read in windows. length: tokens at which rows to learn from are cut. sample: rows
    that a dense model is tried on.
    """

    name: ClassVar[str]
    auto: ClassVar[str]
    kind: ClassVar[str]
    labelled: ClassVar[bool]
    outputs: ClassVar[tuple[str, ...]]
    per_token: ClassVar[bool]
    windows: ClassVar[bool]
    length: ClassVar[int]
    sample: ClassVar[int]

    def objective(self, declared: str | None, labels: int) -> Objective:
        """What a head of so many labels is trained for. declared: the checkpoint's `problem_type`."""

    def logits(self, said: Any) -> Tensor:
        """Logits of what transformers' model of this task returns: [batch, labels], or [batch, tokens, 2]."""

    def probes(self, words: str, added: Sequence[str]) -> list[Text]:
        """Texts and pairs that tell tokenizers apart. words: a long text; added: tokens that a checkpoint adds."""

    def read(self, source: str, data: Data, subject: Subject, labels: str | None) -> Source:
        """What the rows mean to the head. labels: names, ids or vector, where they could be read in two ways.

        Raises DataError.
        """

    def fault(self, source: Source, subject: Subject) -> str:
        """Why nothing can be learned from these labels; empty where it can."""
        return ""

    def doubt(self, source: Source) -> str:
        """Why no model can score well on these labels; empty where one can."""
        return ""

    def encode(self, source: Source, subject: Subject, tokenizer: Fast, length: int, tell: Report) -> list[Features]:
        """Inputs to learn from, of at most `length` tokens. Raises DataError."""

    def more(self, source: Source, count: int, seed: int) -> Source:
        """Rows without labels that are made of those there are, up to `count`; its reading says of which kinds."""

    def score(self, source: Source, subject: Subject, tokenizer: Tokenizer, run: Predict) -> Metrics:
        """Official metrics of a model on labelled rows, which are read and answered as the service does by default.

        tokenizer: the artifact's. run: takes any number of inputs.
        """

    def judge(self, source: Source, subject: Subject, tokenizer: Tokenizer, run: Predict) -> Verdict:
        """Whether a model and the labels of these rows can mean the same thing; parameters as `score` has them."""
