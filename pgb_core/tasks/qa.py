"""Extractive question answering: the start and end of an answer in its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Encoding
from tokenizers import Tokenizer as Fast
from torch import Tensor
from torch.nn import functional

from pgb_core.data import Data, QuestionRow, unplaced
from pgb_core.errors import DataError
from pgb_core.inference.batches import Predict, prepare_question, run_groups
from pgb_core.inference.errors import InvalidInput
from pgb_core.inference.steps import all_of
from pgb_core.inference.tasks import qa as served
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Window
from pgb_core.progress.report import Report
from pgb_core.tasks import texts, trust
from pgb_core.tasks.base import Objective, Source, Subject, Task
from pgb_core.tasks.features import Features, divergence
from pgb_core.tasks.metrics import Metrics
from pgb_core.tasks.more_text import more_questions
from pgb_core.tasks.squad import answer_f1, squad_metrics

MOST_LOST = 0.05  # share of questions whose answer has no place, of which training goes without
STRIDE = 64  # tokens that neighbouring windows share, to learn from
_HIDDEN = -1e4  # the logit of a token that is none
_NO_ANSWER = (0, 0)  # the target of a window without the answer
_OPTIONS, _WINDOWING = served.Options(), served.Windowing()


class Spans:
    """The first and the last token of an answer. logits: [batch, tokens, 2]; targets: [batch, 2]."""

    activation = "softmax"

    def loss(self, logits: Tensor, targets: Tensor, mask: Tensor, reduction: str = "mean") -> Tensor:
        """Cross-entropy of the starts plus that of the ends."""
        logits = _masked(logits, mask)
        ends = functional.cross_entropy(logits[..., 1], targets[:, 1], reduction=reduction)
        return functional.cross_entropy(logits[..., 0], targets[:, 0], reduction=reduction) + ends

    def draw(self, logits: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """A start and an end, each by itself."""
        values = _masked(logits, mask).float().cpu()
        drawn = [torch.multinomial(values[..., k].softmax(-1), 1, generator=generator) for k in (0, 1)]
        return torch.cat(drawn, dim=1).to(logits.device)

    def distil(self, logits: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
        """Divergence of the starts plus that of the ends."""
        student, teacher = (_masked(x, mask).transpose(1, 2).flatten(0, 1) for x in (logits, goal))
        return 2 * divergence(student, teacher)


class QuestionAnswering(Task):
    """A question and a context in, answers out."""

    name = served.QA.name
    auto = "QuestionAnswering"
    kind = "questions"
    labelled = False
    outputs = served.QA.outputs
    per_token = True
    windows = True
    length = 192
    sample = 128
    probes = staticmethod(texts.questions)

    def objective(self, declared: str | None, labels: int) -> Objective:
        """See Task."""
        return Spans()

    def logits(self, said: Any) -> Tensor:
        """See Task."""
        return torch.stack([said.start_logits, said.end_logits], -1)

    def read(self, source: str, data: Data, subject: Subject, labels: str | None) -> Source:
        """See Task."""
        if labels:
            raise DataError(f"{source}: questions have no --labels; leave it out")
        rows = [row for row in data.rows if isinstance(row, QuestionRow)]
        return Source(source, rows, [row.answers for row in rows], data.notes[0].partition(": ")[2])

    def doubt(self, source: Source) -> str:
        """See Task. An answer of so many words has at least as many tokens."""
        most = _OPTIONS.max_answer_length
        answers = [[text for text, _ in row.answers] for row in _questions(source) if row.answers]
        beyond = sum(all(len(text.split()) > most for text in texts) for texts in answers)
        if beyond <= MOST_LOST * len(answers):
            return ""
        return (
            f"{beyond:,} of {len(answers):,} answered questions have only answers of more than {most} words, and "
            f"models are scored with answers of at most {most} tokens, as the service gives them by default; clients "
            "get longer ones by max_answer_length"
        )

    def encode(self, source: Source, subject: Subject, tokenizer: Fast, length: int, tell: Report) -> list[Features]:
        """Questions whose answer has no place in a window are left out, and counted.

        Raises DataError when they are more than a few: they would be learned as unanswerable.
        """
        every = _questions(source)
        _refuse_many(source, sum(map(unplaced, every)), "is not where the file says, nor once in the context")
        placed = [row for row in every if not unplaced(row)]
        features = encode_questions(placed, tokenizer, length, STRIDE)
        whole = {f.row for f in features if f.target != _NO_ANSWER}
        cut = {n for n, row in enumerate(placed) if row.answers and n not in whole}
        _refuse_many(source, len(cut), f"does not fit a window of {length} tokens (max_length) beside the question")
        lost = len(every) - len(placed) + len(cut)
        if lost:
            tell.warn(
                f"{source.short}: {lost:,} of {len(every):,} questions are left out of the learning, "
                f"for their answer has no place in the context, or does not fit a window of {length} tokens"
            )
        return [f for f in features if f.row not in cut]

    def more(self, source: Source, count: int, seed: int) -> Source:
        """See Task."""
        moved, clozes = more_questions(_questions(source), count, seed)
        rows, said = [*moved, *clozes], f"{len(moved):,} with another context and {len(clozes):,} cloze questions"
        return Source(source.name, rows, [None] * len(rows), said)

    def score(self, source: Source, subject: Subject, tokenizer: Tokenizer, run: Predict) -> Metrics:
        """On data with unanswerable questions EM and F1 are of a model that says nothing where that scores
        higher than its best answer, as the service does with `handle_impossible`; `best_…` are those at the best
        threshold for the score of no answer less that of the best.
        """
        questions = _questions(source)
        answers, margins = answered(questions, tokenizer, run)
        found = squad_metrics(questions, answers, margins)
        if all(question.answers for question in questions):
            return Metrics(found)
        silent = ["" if margin > 0 else answer for answer, margin in zip(answers, margins, strict=True)]
        plain = squad_metrics(questions, silent, margins)
        return Metrics({**found, "exact_match": plain["exact_match"], "f1": plain["f1"]})

    def judge(self, source: Source, subject: Subject, tokenizer: Tokenizer, run: Predict) -> trust.Verdict:
        """See Task."""
        questions = _questions(source)
        answers, _ = answered(questions, tokenizer, run)
        scores = [
            100 * max(answer_f1(answer, gold) for gold, _ in row.answers or ())
            for answer, row in zip(answers, questions, strict=True)
        ]
        return trust.judge_answers(scores)


def _masked(logits: Tensor, mask: Tensor) -> Tensor:
    return logits.masked_fill(~mask.unsqueeze(2), _HIDDEN)


def _questions(source: Source) -> list[QuestionRow]:
    return [row for row in source.rows if isinstance(row, QuestionRow)]


def _refuse_many(source: Source, lost: int, why: str) -> None:
    if lost > MOST_LOST * len(source.rows):
        raise DataError(
            f"{source.name}: the answer of {lost:,} of {len(source.rows):,} questions {why} and cannot be "
            f"learned; correct it (at most {MOST_LOST:.0%} may be left out)"
        )


def answered(questions: Sequence[QuestionRow], tokenizer: Tokenizer, run: Predict) -> tuple[list[str], list[float]]:
    """The answer to each question that the service gives by default, and by how much "no answer" scores above it.

    run: takes any number of inputs. A question that leaves no room for its context, which the service refuses, has no
    answer.
    """
    windows = [_windows(question, tokenizer) for question in questions]
    logits = run_groups(run, [[window.tokens for window in group] for group in windows])
    answers, margins = [], []
    for question, group, rows in zip(questions, windows, logits, strict=True):
        found = all_of(served.candidates(question.context, group, rows, _OPTIONS))
        best = found.best(_OPTIONS)
        answers.append(best[0].text if best else "")
        margins.append(found.no_answer - (best[0].score if best else 0.0))
    return answers, margins


def _windows(question: QuestionRow, tokenizer: Tokenizer) -> list[Window]:
    try:
        return prepare_question(tokenizer, served.Question(question.question, question.context), _WINDOWING)
    except InvalidInput:
        return []


def encode_questions(rows: Sequence[QuestionRow], tokenizer: Fast, length: int, stride: int) -> list[Features]:
    """Overlapping windows of at most `length` tokens, to learn from.

    A window that does not hold the first answer whole points at the first token, as SQuAD 2.0's
    unanswerable questions do; without a label, or a place of the answer, there is no target. Neighbours
    share `stride` tokens, at most a quarter of what a window has room for. An answer that none of them holds
    whole, and that is no longer than the room, has one window more, around it. A question too long for any
    context is cut.
    """
    features = []
    budget = length - tokenizer.num_special_tokens_to_add(True)
    stride = max(0, min(stride, budget // 4))
    # The library gives the second text of all windows but the first type 1, whatever the tokenizer says.
    top = max(tokenizer.encode("a", "a").type_ids, default=0)
    for n, row in enumerate(rows):
        question = _fitting(row.question, tokenizer, budget // 2)
        tokenizer.enable_truncation(length, stride=stride, strategy="only_second")
        try:
            first = tokenizer.encode(question, row.context)
        finally:
            tokenizer.no_truncation()
        parts = [_part(row, window, range(len(window.ids)), top) for window in (first, *first.overflowing)]
        if row.answers and all(target == _NO_ANSWER for _, _, target in parts):
            whole = tokenizer.encode(question, row.context)
            around = _around(row, whole, length)
            parts += [_part(row, whole, around, top)] if around else []
        features += [Features(ids, types, target, n, question != row.question) for ids, types, target in parts]
    return features


def _part(
    row: QuestionRow, encoding: Encoding, tokens: Sequence[int], top: int
) -> tuple[list[int], list[int], tuple[int, int] | None]:
    """Ids, types and target of some tokens of an encoding. top: the highest type that the model is given."""
    ids, types, places = encoding.ids, encoding.type_ids, _places(encoding)
    return [ids[n] for n in tokens], [min(types[n], top) for n in tokens], _span(row, [places[n] for n in tokens])


def _around(row: QuestionRow, whole: Encoding, length: int) -> list[int]:
    """The tokens of a window with the first answer in its middle, or as near to it as the context's ends allow.

    whole: the question and all of its context. Empty where the answer does not fit.
    """
    span = _span(row, _places(whole))
    context = [n for n, sequence in enumerate(whole.sequence_ids) if sequence == 1]
    room = length - (len(whole.ids) - len(context))
    if span in (None, _NO_ANSWER) or span[1] - span[0] >= room:
        return []
    first, last = context[0], context[-1]
    before = (room - (span[1] + 1 - span[0])) // 2
    start = max(first, min(span[0] - before, last + 1 - room))
    return [n for n in range(len(whole.ids)) if not first <= n <= last or start <= n < start + room]


def _places(encoding: Encoding) -> list[tuple[int, int] | None]:
    """Where each token stands in the context; None for one of the question, and a special one."""
    return [
        offset if sequence == 1 else None
        for offset, sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
    ]


def _fitting(question: str, tokenizer: Fast, limit: int) -> str:
    encoding: Encoding = tokenizer.encode(question, add_special_tokens=False)
    return question if len(encoding.ids) <= limit else question[: encoding.offsets[limit - 1][1]]


def _span(row: QuestionRow, offsets: Sequence[tuple[int, int] | None]) -> tuple[int, int] | None:
    if row.answers is None:
        return None
    if not row.answers:
        return _NO_ANSWER
    text, start = row.answers[0]
    if start is None:
        return None
    start += len(text) - len(text.lstrip())  # no token holds a blank
    end = start + len(text.strip())
    inside = [n for n, offset in enumerate(offsets) if offset and offset[0] < end and offset[1] > start]
    if not inside or offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:  # type: ignore[index]
        return _NO_ANSWER
    return inside[0], inside[-1]
