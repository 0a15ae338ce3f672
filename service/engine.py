"""Tokenise, admit, batch, run, decode: one path for every dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pgb_core.artifact import Artifact, Manifest
from service.batcher import Batcher, Ran
from service.errors import InvalidInput, TooLarge, UnknownModel, WrongTask
from service.metrics import Stamps, Timings, clock
from service.runtimes.onnx_runtime import OnnxRuntime
from service.runtimes.protocol import Logits, Runtime
from service.settings import Settings
from service.tasks import answer, classify
from service.tokenizer import Tokenizer, Tokens, Window

Result = TypeVar("Result")
INLINE_CHARACTERS = 4096
DEFAULT_LENGTH = 384
DEFAULT_STRIDE = 128


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


@dataclass(frozen=True)
class Reply(Generic[Result]):
    """Results in the order asked, with what they took. `batch_size` and `batch_tokens` are the largest met."""

    model: Manifest
    version: str
    results: list[Result]
    timings: Timings
    batch_size: int
    batch_tokens: int


class Model:
    """One artifact, ready to answer."""

    def __init__(self, artifact: Artifact, settings: Settings, runtime: Runtime | None = None) -> None:
        self.manifest = artifact.manifest
        self.version = artifact.manifest.digest[:12]
        self.tokenizer = Tokenizer(artifact.tokenizer, self.manifest.max_length)
        self.runtime: Runtime = runtime or OnnxRuntime(artifact, settings.threads)
        self.batcher: Batcher[Tokens, Logits] = Batcher(
            self.runtime.run, len, settings.max_batch_tokens, settings.max_queue_tokens, settings.max_wait_seconds
        )

    def warm_up(self) -> None:
        """A real forward pass, so that ready means able."""
        if self.manifest.task == "qa":
            inputs = [window.tokens for window in self.tokenizer.windows("Ready?", "Ready.", DEFAULT_LENGTH, 0)]
        else:
            inputs = self.tokenizer.texts(["Ready."])
        self.runtime.run(inputs)

    async def close(self) -> None:
        """Finish what waits, then free the runtime."""
        await self.batcher.close()
        self.runtime.close()


class Engine:
    """All models of a process; the first is the default."""

    def __init__(self, models: Sequence[Model], settings: Settings) -> None:
        self._models = {model.manifest.name: model for model in models}
        if len(self._models) != len(models):
            raise InvalidInput("two artifacts have the same name; rename one directory and compress it anew")
        self._settings = settings

    @property
    def models(self) -> list[Model]:
        """In the order given at start."""
        return list(self._models.values())

    def model(self, name: str | None, task: str) -> Model:
        """By name, or the first of the task. Raises UnknownModel or WrongTask."""
        if name is None:
            model = next((m for m in self._models.values() if m.manifest.task == task), None)
            if model is None:
                raise UnknownModel(f"no model for {task} is served")
            return model
        found = self._models.get(name)
        if found is None:
            raise UnknownModel(f"no model of that name is served; there are {', '.join(self._models)}")
        if found.manifest.task != task:
            raise WrongTask(f"model {name} is for {found.manifest.task}, not for {task}")
        return found

    async def classify(
        self,
        name: str | None,
        inputs: Sequence[str | tuple[str, str]],
        activation: str | None,
        top_k: int | None,
        stamps: Stamps,
    ) -> Reply[list[classify.Score]]:
        """Scores of each text or pair, highest first. Raises ServiceError."""
        model = self.model(name, "classification")
        self._check([part for item in inputs for part in ((item,) if isinstance(item, str) else item)], len(inputs))
        characters = sum(len(item) if isinstance(item, str) else sum(map(len, item)) for item in inputs)
        tokens = await _off_loop(characters, lambda: model.tokenizer.texts(inputs))
        stamps.tokenized = clock()
        ran = await model.batcher.submit(tokens)
        _stamp(stamps, ran)
        labels, chosen = model.manifest.labels, activation or model.manifest.activation
        results = [classify.ranked(r.result, labels, chosen, top_k) for r in ran]
        return _reply(model, results, ran, stamps)

    async def answer(
        self,
        name: str | None,
        inputs: Sequence[Question],
        windowing: Windowing,
        options: answer.Options,
        stamps: Stamps,
    ) -> Reply[list[answer.Answer]]:
        """Answers of each question, best first. Windows of all questions are batched together."""
        model = self.model(name, "qa")
        self._check([part for q in inputs for part in (q.question, q.context)], len(inputs))
        length = min(windowing.max_length or DEFAULT_LENGTH, model.manifest.max_length)
        stride = min(length // 2, DEFAULT_STRIDE) if windowing.stride is None else windowing.stride
        characters = sum(len(q.question) + len(q.context) for q in inputs)

        def cut() -> list[list[Window]]:
            return [model.tokenizer.windows(q.question.strip(), q.context, length, stride) for q in inputs]

        windows = await _off_loop(characters, cut)
        stamps.tokenized = clock()
        every = [window.tokens for group in windows for window in group]
        if len(every) > self._settings.max_windows:
            raise TooLarge(f"the contexts need {len(every)} windows, at most {self._settings.max_windows} are served")
        ran = await model.batcher.submit(every)
        _stamp(stamps, ran)
        logits = iter(ran)
        results = [
            answer.best(q.context, group, [next(logits).result for _ in group], options)
            for q, group in zip(inputs, windows, strict=True)
        ]
        return _reply(model, results, ran, stamps)

    async def close(self) -> None:
        """Drain every model."""
        await asyncio.gather(*(model.close() for model in self._models.values()))

    def _check(self, texts: Sequence[str], items: int) -> None:
        if items > self._settings.max_items:
            raise TooLarge(f"{items} inputs in one request, at most {self._settings.max_items} are taken")
        for text in texts:
            if len(text) > self._settings.max_characters:
                raise TooLarge(f"a text of {len(text)} characters, at most {self._settings.max_characters} are taken")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise InvalidInput("a text holds half of a surrogate pair; send whole characters")


async def _off_loop(characters: int, work: Callable[[], Result]) -> Result:
    """Short work at once, long work on a thread so that other requests go on."""
    return work() if characters <= INLINE_CHARACTERS else await asyncio.to_thread(work)


def _stamp(stamps: Stamps, ran: Sequence[Ran[Logits]]) -> None:
    stamps.started = min(r.started for r in ran)
    stamps.finished = max(r.finished for r in ran)


def _reply(model: Model, results: list[Result], ran: Sequence[Ran[Logits]], stamps: Stamps) -> Reply[Result]:
    stamps.done = clock()
    return Reply(
        model.manifest,
        model.version,
        results,
        Timings.of(stamps),
        max(r.batch_size for r in ran),
        max(r.batch_tokens for r in ran),
    )
