"""Tokenise, admit, batch, run, decode: one path for every dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pgb_core.machine import usable_cores
from service.batcher import Ran
from service.errors import EmptyInput, InvalidInput, Overloaded, ServiceError, TooLarge
from service.instruments import Instruments
from service.metrics import Call, clock
from service.model import Model
from service.registry import Registry
from service.runtimes.protocol import Logits
from service.settings import Settings
from service.tasks import answer, classify
from service.tokenizer import Tokens, Window

Result = TypeVar("Result")
INLINE_CHARACTERS = 1024
DEFAULT_LENGTH = 384
DEFAULT_STRIDE = 128
Text = str | tuple[str, str]


@dataclass(frozen=True)
class Target:
    """Which model is asked: by name and version, or the default of the task."""

    name: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Labelling:
    """activation: None takes the model's. top_k: None gives all labels. truncate: cut a text that is
    too long on the side named, or refuse it."""

    activation: str | None = None
    top_k: int | None = None
    truncate: bool = True
    side: str = "right"


@dataclass(frozen=True)
class Question:
    """One question about one context."""

    question: str
    context: str


@dataclass(frozen=True)
class Windowing:
    """Tokens of a window and how many neighbours share; None takes min(model, 384) and half, at most 128."""

    max_length: int | None = None
    stride: int | None = None


class Engine:
    """Answers calls with the models of a registry, and keeps account of every one.

    in_flight: the requests that have arrived at this process, where the server tells.
    """

    in_flight: Collection[object] = ()

    def __init__(self, registry: Registry, settings: Settings, instruments: Instruments) -> None:
        self.registry = registry
        self._settings = settings
        self._instruments = instruments
        # No more at once than there are cores: a long text takes a hundred times its size while it is tokenised.
        self._threads = ThreadPoolExecutor(usable_cores(), "pgb-tokenize")

    async def classify(
        self, call: Call, target: Target, inputs: Sequence[Text], options: Labelling
    ) -> list[list[classify.Score]]:
        """Scores of each text or pair, highest first. Raises ServiceError."""
        with self._model(call, target, "classification") as model:
            logits = await self._logits(call, model, inputs, options)
            chosen = options.activation or model.manifest.activation
            return classify.ranked(logits, model.manifest.labels, chosen, options.top_k)

    async def scores(
        self, call: Call, target: Target, inputs: Sequence[Text], options: Labelling
    ) -> tuple[Sequence[str], NDArray[np.float64]]:
        """Labels, and scores [inputs, labels] in the labels' order. Raises ServiceError."""
        with self._model(call, target, "classification") as model:
            logits = await self._logits(call, model, inputs, options)
            activation = options.activation or model.manifest.activation
            return model.manifest.labels, classify.activate(np.stack(logits), activation)

    async def answer(
        self,
        call: Call,
        target: Target,
        inputs: Sequence[Question],
        windowing: Windowing,
        options: answer.Options,
    ) -> list[list[answer.Answer]]:
        """Answers of each question, best first. Windows of all questions are batched together."""
        with self._model(call, target, "qa") as model:
            self._check(call, [(q.question, q.context) for q in inputs])
            if not all(q.question.strip() and q.context for q in inputs):
                raise EmptyInput("a question or a context is empty")
            length = min(windowing.max_length or DEFAULT_LENGTH, model.manifest.max_length)
            stride = min(length // 2, DEFAULT_STRIDE) if windowing.stride is None else windowing.stride

            def cut() -> list[list[Window]]:
                found, count = [], 0
                for q in inputs:
                    found.append(model.tokenizer.windows(q.question.strip(), q.context, length, stride))
                    count += len(found[-1])
                    if count > self._settings.max_windows:
                        raise TooLarge(f"the contexts need more windows than {self._settings.max_windows}")
                return found

            windows = await self._off_loop(call.characters, cut)
            every = [window.tokens for group in windows for window in group]
            logits = iter(await self._run(call, model, every))
            groups = [[next(logits) for _ in group] for group in windows]

            def decode() -> list[list[answer.Answer]]:
                return [
                    answer.best(q.context, group, rows, options)
                    for q, group, rows in zip(inputs, windows, groups, strict=True)
                ]

            return await self._off_loop(call.characters, decode)

    @contextmanager
    def _model(self, call: Call, target: Target, task: str) -> Iterator[Model]:
        """The model asked for, kept while it is needed; success and failure are counted to it."""
        model = self.registry.pick(target.name, target.version, task)
        call.model, call.version, call.device = model.name, model.version, model.runtime.device
        try:
            model.batcher.check()  # before any work is put into a request that would be refused after it
            with model.in_use():
                yield model
        except ServiceError as error:
            model.statistics.failed(call)
            if isinstance(error, Overloaded):
                self._instruments.rejections.labels("overloaded").inc()
            raise
        call.stamps.done = clock()
        model.statistics.answered(call)
        self._instruments.answered(call)

    async def _logits(self, call: Call, model: Model, inputs: Sequence[Text], options: Labelling) -> list[Logits]:
        self._check(call, [(item,) if isinstance(item, str) else item for item in inputs])
        tokens = await self._off_loop(call.characters, lambda: model.tokenizer.texts(inputs, options.side))
        call.truncated = sum(item.cut for item in tokens)
        if call.truncated and not options.truncate:
            longest = model.manifest.max_length
            raise InvalidInput(
                f"a text has more than the {longest} tokens that the model takes; shorten it or truncate"
            )
        return await self._run(call, model, tokens)

    async def _run(self, call: Call, model: Model, tokens: list[Tokens]) -> list[Logits]:
        call.stamps.tokenized = clock()
        call.tokens = sum(map(len, tokens))
        ran: list[Ran[Logits]] = await model.batcher.submit(tokens, call.deadline, alone=len(self.in_flight) == 1)
        call.stamps.started = min(r.started for r in ran)
        call.stamps.finished = max(r.finished for r in ran)
        call.batch_size = max(r.batch_size for r in ran)
        call.batch_tokens = max(r.batch_tokens for r in ran)
        call.marks = list({id(r.mark): r.mark for r in ran if r.mark is not None}.values())
        return [r.result for r in ran]

    async def _off_loop(self, characters: int, work: Callable[[], Result]) -> Result:
        """Short work at once, long work on a thread so that other requests go on."""
        if characters <= INLINE_CHARACTERS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _check(self, call: Call, inputs: Sequence[tuple[str, ...]]) -> None:
        call.inputs = len(inputs)
        if not inputs:
            raise EmptyInput("there is no input")
        if len(inputs) > self._settings.max_items:
            raise TooLarge(f"{len(inputs)} inputs in one request, at most {self._settings.max_items} are taken")
        for text in (text for item in inputs for text in item):
            call.characters += len(text)
            if len(text) > self._settings.max_characters:
                raise TooLarge(f"a text of {len(text)} characters, at most {self._settings.max_characters} are taken")
            if not _whole(text):
                raise InvalidInput("a text holds half of a surrogate pair; send whole characters")


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
