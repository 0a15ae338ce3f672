"""The engine: tokenise, admit, batch, run, decode. All dialects go through it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pgb_core.inference.errors import InferenceError
from pgb_core.inference.steps import Result, Work, all_of
from pgb_core.inference.tasks.base import Logits, Task, check_text
from pgb_core.inference.tasks.classification import CLASSIFICATION, Labelling, Score, activate, pooled, ranked
from pgb_core.inference.tasks.qa import QA, Answer, Options, Question, Windowing, best, cost
from pgb_core.inference.tokenizer import Tokenizer, check_size, limited
from pgb_core.inference.tokens import Text, Tokens, Window
from pgb_core.machine import usable_cores
from service.batching.batcher import Ran
from service.batching.queue import Announced
from service.batching.tokenizing import TokenizingLine
from service.errors import (
    ENDING,
    DeadlineExceeded,
    EmptyInput,
    InvalidInput,
    Overloaded,
    TooLarge,
    WrongTask,
    told,
)
from service.models.model import Model
from service.models.registry import Registry, Suits
from service.observe.instruments import Instruments
from service.observe.metrics import Call, clock
from service.settings import Settings

INLINE_CHARACTERS = 1024
_INLINE_COST = 8 * INLINE_CHARACTERS  # of finding answers: those in a window or two; of putting labels in order
# Most characters of all answers to one request, and most scores in them: a few megabytes of JSON.
MOST_CHARACTERS = 1_000_000
MOST_SCORES = 100_000
_LABELS = "the answers have too many labels in all; send fewer inputs at a time, or ask for the best ones"


@dataclass(frozen=True)
class Need:
    """A requirement on a model besides its task. said: the message for a model that does not meet it."""

    met: Suits
    said: str


# A model that ranks gives each text one score.
RANKS = Need(lambda manifest: len(manifest.labels) == 1, "this model does not rank: it has more than one label")


@dataclass(frozen=True)
class Target:
    """The requested model: by name and version, or the default of the task. need: without a name, the first model that
    meets it is the default."""

    name: str | None = None
    version: str | None = None
    need: Need | None = None


class Engine:
    """Answers calls with the models of a registry, and keeps account of every one.

    in_flight: the requests that have arrived at this process and are not answered; `Arrival` counts them.
    """

    def __init__(self, registry: Registry, settings: Settings, instruments: Instruments) -> None:
        self.registry = registry
        self.in_flight = 0
        self._settings = settings
        self._instruments = instruments
        # No more at once than there are cores: a long text takes a hundred times its size while it is tokenised.
        self._line = TokenizingLine(usable_cores())

    def close(self) -> None:
        """Let the threads end."""
        self._line.close()

    async def classify(
        self, call: Call, target: Target, inputs: Sequence[Text], options: Labelling
    ) -> list[list[Score]]:
        """Scores of each text or pair, highest first. Raises ServiceError."""
        with self._model(call, target, CLASSIFICATION) as model:
            labels, chosen = model.manifest.labels, options.activation or model.manifest.activation
            _check_labels(len(inputs), labels, options.top_k)
            logits = await self._logits(call, model, inputs, options)
            work = _ranked(logits, labels, chosen, options.top_k)
            return await self._decoded(call, work, len(logits) * len(labels))

    async def rank(
        self, call: Call, target: Target, query: str, texts: Sequence[str], options: Labelling
    ) -> list[tuple[int, float]]:
        """Place and score of each text as an answer to the query, highest score first, by a model of one label.

        Raises ServiceError.
        """
        pairs = [(query, text) for text in texts]
        rows = await self.classify(call, replace(target, need=RANKS), pairs, options)
        scores = [row[0].score for row in rows]
        return sorted(enumerate(scores), key=lambda placed: placed[1], reverse=True)

    async def scores(
        self, call: Call, target: Target, inputs: Sequence[Text], options: Labelling, whole: bool = False
    ) -> tuple[Sequence[str], NDArray[np.float64]]:
        """Labels, and scores [inputs, labels] in the labels' order, also where `top_k` of them are to be named.

        whole: whether the answer has all of them. Raises ServiceError.
        """
        with self._model(call, target, CLASSIFICATION) as model:
            if options.top_k is not None:
                _check_labels(len(inputs), model.manifest.labels, options.top_k)
            elif whole:
                _check_scores(len(inputs) * len(model.manifest.labels))
            logits = await self._logits(call, model, inputs, options)
            activation = options.activation or model.manifest.activation
            return model.manifest.labels, activate(np.stack(logits), activation)

    async def answer(
        self,
        call: Call,
        target: Target,
        inputs: Sequence[Question],
        windowing: Windowing,
        options: Options,
    ) -> list[list[Answer]]:
        """Answers of each question, best first. Windows of all questions are batched together."""
        with self._model(call, target, QA) as model:
            self._check(call, QA, [(q.question, q.context) for q in inputs])
            check_size(sum(len(q.context) for q in inputs))  # a context may stand once in the body for every question
            length, stride = windowing.within(model.manifest.max_length)
            estimate = sum(_windowed(len(q.context) * model.density, length, stride) for q in inputs)
            most = self._settings.max_windows * length  # a request with more is refused later
            cut = limited(self._cut(model, inputs, length, stride))
            windows, announced = await self._tokenized(call, model, cut, call.characters, min(most, estimate))
            every = [window.tokens for group in windows for window in group]
            logits = iter(await self._run(call, model, every, announced))
            groups = [[next(logits) for _ in group] for group in windows]
            work = _answers(inputs, windows, groups, options)
            return await self._decoded(call, work, cost(sum(map(len, every)), options))

    def _cut(
        self, model: Model, inputs: Sequence[Question], length: int, stride: int
    ) -> Generator[int, None, list[list[Window]]]:
        found: list[list[Window]] = []
        left = self._settings.max_windows
        for q in inputs:
            if left < 1:
                raise TooLarge(f"the contexts need more windows than {self._settings.max_windows}")
            found.append((yield from model.tokenizer.windows(q.question, q.context, length, stride, left)))
            left -= len(found[-1])
        return found

    @contextmanager
    def _model(self, call: Call, target: Target, task: Task) -> Iterator[Model]:
        """The requested model, kept open while it is needed. Success and failure are counted for it."""
        need = target.need
        model = self.registry.pick(target.name, target.version, task.name, need.met if need else None)
        call.model, call.version, call.device = model.name, model.version, model.runtime.device
        try:
            if need is not None and not need.met(model.manifest):
                raise WrongTask(need.said)
            model.batcher.check(call.flow, call.held_bytes)  # refuse before any work is done for the request
            with model.in_use():
                yield model
        except ENDING:
            raise
        except BaseException as error:
            model.statistics.failed(call)
            if isinstance(error, Overloaded):
                self._instruments.rejections.labels("overloaded").inc()
            if isinstance(error, DeadlineExceeded) and model.healthy and self._hurried(call):
                call.hurried = True
                self._instruments.rejections.labels("deadline").inc()
            if isinstance(error, InferenceError):
                raise told(error) from error
            raise
        call.stamps.done = clock()
        model.statistics.answered(call)
        self._instruments.answered(call)

    def _hurried(self, call: Call) -> bool:
        """Whether the client gave the request less time than the service does."""
        return call.deadline < call.stamps.received + self._settings.max_request_seconds

    async def _logits(self, call: Call, model: Model, inputs: Sequence[Text], options: Labelling) -> list[Logits]:
        self._check(call, CLASSIFICATION, [(item,) if isinstance(item, str) else item for item in inputs])
        if options.pool is not None:
            return await self._pooled(call, model, inputs, options)
        tokenizer = _reader(model, options)
        longest = tokenizer.max_length
        work = tokenizer.texts(inputs, options.side)
        announced = None
        if call.characters <= INLINE_CHARACTERS:
            tokens = all_of(work)
        else:
            lengths = (len(item) if isinstance(item, str) else len(item[0]) + len(item[1]) for item in inputs)
            estimate = sum(min(longest, size * model.density + 2) for size in lengths)
            readable = tokenizer.readable(inputs)
            tokens, announced = await self._tokenized(call, model, work, readable, estimate)
        call.truncated = sum([item.cut for item in tokens])
        if call.truncated and not options.truncate:
            if announced is not None:
                model.batcher.withdraw(announced)
            # A number that the client gave is not repeated.
            own = longest == model.tokenizer.max_length
            most = f"{longest} tokens, which is the limit" if own else "max_length tokens"
            raise InvalidInput(f"a text has more than {most}; shorten it or truncate")
        found = await self._run(call, model, tokens, announced)
        if not call.truncated and call.characters > INLINE_CHARACTERS:
            model.learn(call.characters, call.tokens - 2 * len(tokens))
        return found

    async def _pooled(self, call: Call, model: Model, inputs: Sequence[Text], options: Labelling) -> list[Logits]:
        """The pooled logits of each text from all of its windows, which are batched like other inputs."""
        texts = [item for item in inputs if isinstance(item, str)]
        if len(texts) < len(inputs):
            raise InvalidInput("a pair is not read in windows; send texts alone, or let the pair be cut")
        tokenizer = _reader(model, options)
        length = tokenizer.max_length
        stride = options.shared(length)
        estimate = sum(_windowed(len(text) * model.density, length, stride) for text in texts)
        most = self._settings.max_windows
        work = tokenizer.whole(texts, stride, most)
        groups, announced = await self._tokenized(call, model, work, call.characters, min(most * length, estimate))
        logits = iter(await self._run(call, model, [window for group in groups for window in group], announced))
        return [pooled([next(logits) for _ in group], str(options.pool)) for group in groups]

    async def _tokenized(
        self, call: Call, model: Model, work: Work[Result], characters: int, estimate: float
    ) -> tuple[Result, Announced | None]:
        """Do short work at once. Admit long work by an estimate first, then do it in turns with other requests."""
        if call.characters <= INLINE_CHARACTERS:
            return all_of(work), None
        before = self._line.wait_seconds(call.flow, characters)
        announced = model.batcher.announce(call.flow, estimate, call.deadline, before)
        try:
            return await self._line.run(work, call.flow, characters, call.deadline), announced
        except BaseException:
            model.batcher.withdraw(announced)
            raise

    async def _run(self, call: Call, model: Model, tokens: list[Tokens], announced: Announced | None) -> list[Logits]:
        call.stamps.tokenized = clock()
        call.windows, call.tokens = len(tokens), sum(map(len, tokens))
        alone = self.in_flight == 1 and (announced is not None or await self._still_alone())
        ran: list[Ran[Logits]] = await model.batcher.submit(
            tokens, call.deadline, alone, call.flow, call.held_bytes, announced
        )
        batches = list({r.started: r for r in ran}.values())  # one result of each
        call.stamps.started = min([r.started for r in batches])
        call.stamps.finished = max([r.finished for r in batches])
        call.batch_size = max([r.batch_size for r in batches])
        call.batch_tokens = max([r.batch_tokens for r in batches])
        call.marks = [r.mark for r in batches if r.mark is not None]
        return [r.result for r in ran]

    async def _decoded(self, call: Call, work: Work[Result], amount: int) -> Result:
        """Decode at once where that takes little time, otherwise in turns with other requests."""
        if amount <= _INLINE_COST:
            return all_of(work)
        return await self._line.run(work, call.flow, amount, call.deadline, learns=False)

    async def _still_alone(self) -> bool:
        """Whether this is the only request. Requests that arrive in the same turn of the event loop are counted when
        their own turn comes, so this one lets them run first."""
        await asyncio.sleep(0)
        return self.in_flight == 1

    def _check(self, call: Call, task: Task, inputs: Sequence[tuple[str, ...]]) -> None:
        call.inputs = len(inputs)
        if not inputs:
            raise EmptyInput("there is no input")
        if len(inputs) > self._settings.max_items:
            raise TooLarge(f"too many inputs in one request, at most {self._settings.max_items} are taken")
        checked: set[str] = set()  # a query is a part of many inputs
        for item in inputs:
            for text in item:
                call.characters += len(text)
                if len(text) > self._settings.max_characters:
                    raise TooLarge(f"a text is too long, at most {self._settings.max_characters} characters are taken")
                if not text.isascii() and text not in checked:
                    check_text(text)
                    checked.add(text)
        task.check(inputs)


def _check_labels(inputs: int, labels: Sequence[str], top_k: int | None) -> None:
    """Raises TooLarge where the labels in the answers to so many inputs may be too many, or too long in all."""
    lengths = sorted(map(len, labels), reverse=True)[:top_k]
    _check_scores(inputs * len(lengths))
    if inputs * sum(lengths) > MOST_CHARACTERS:
        raise TooLarge(_LABELS)


def _check_scores(count: int) -> None:
    if count > MOST_SCORES:
        raise TooLarge(_LABELS)


def _ranked(
    logits: Sequence[Logits], labels: Sequence[str], activation: str, top_k: int | None
) -> Generator[int, None, list[list[Score]]]:
    """`ranked`, of some inputs at a time."""
    found: list[list[Score]] = []
    step = max(1, _INLINE_COST // len(labels))
    for first in range(0, len(logits), step):
        found += ranked(logits[first : first + step], labels, activation, top_k)
        yield step * len(labels)
    return found


def _reader(model: Model, options: Labelling) -> Tokenizer:
    return model.tokenizer if options.max_length is None else model.tokenizer.shorter(options.max_length)


def _windowed(tokens: float, length: int, stride: int) -> float:
    """Estimate the tokens in all windows of a context with `tokens` tokens."""
    return max(tokens, length * tokens / max(1, length - stride)) + 2


def _answers(
    inputs: Sequence[Question],
    windows: Sequence[Sequence[Window]],
    logits: Sequence[Sequence[Logits]],
    options: Options,
) -> Generator[int, None, list[list[Answer]]]:
    found: list[list[Answer]] = []
    characters = 0
    for q, group, rows in zip(inputs, windows, logits, strict=True):
        found.append((yield from best(q.context, group, rows, options)))
        characters += sum(len(a.text) for a in found[-1])
        if characters > MOST_CHARACTERS:
            raise TooLarge("the answers are too long in all; lower top_k or the length of an answer")
    return found
