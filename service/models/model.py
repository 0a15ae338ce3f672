"""One version of one model: its tokenizer, its runtime, its queue, and its statistics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from pgb_core.artifact import Artifact
from pgb_core.inference.choose import Asked, choose
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Runtime
from pgb_core.inference.runtimes.selfcheck import known_ids
from pgb_core.inference.runtimes.timing import filler, lengths, seconds
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Tokens
from service.batching.batcher import Batcher
from service.batching.queue import Cost, Limits
from service.errors import ENDING
from service.observe import logs
from service.observe.instruments import Instruments
from service.observe.metrics import clock
from service.observe.statistics import Statistics
from service.observe.tracing import Tracer
from service.settings import Settings

BROKEN = 3
_QUIET = 1.0  # seconds between two failures that are logged
_ROUNDS = 3
_SETTLING = 0.1
_FIRST_DENSITY, _SPARSE, _DENSE = 0.25, 0.05, 1.5  # tokens of a character


class Model:
    """A model that is ready to answer once it is made. Making it blocks: it loads, checks and measures itself.

    Raises RuntimeUnavailable when the runtime is missing, or gives other logits than the artifact carries.
    """

    def __init__(
        self,
        artifact: Artifact,
        name: str,
        version: str,
        settings: Settings,
        instruments: Instruments,
        tracer: Tracer | None = None,
        opened: Callable[[Runtime], None] = lambda _: None,
    ) -> None:
        """opened: gets the runtime before it first runs, so that it can stop it."""
        self.manifest = artifact.manifest
        self.digest = artifact.digest
        self.name = name
        self.version = version
        self.tokenizer = Tokenizer.open(artifact.tokenizer, self.manifest.max_length)
        asked = Asked(settings.form, settings.device, settings.runtime, settings.threads, settings.max_form_drop)
        chosen = choose(artifact, asked, opened)
        self.runtime: Runtime = chosen.runtime
        self.form, self.kind, self.why = chosen.form, chosen.kind, chosen.why
        self.numbers = artifact.form(chosen.form).numbers
        self.form_milliseconds = chosen.milliseconds
        self.difference = chosen.difference
        self.statistics = Statistics()
        self._instruments = instruments
        self._tracer = tracer
        self._uses = 0
        self._idle = asyncio.Event()
        self._retiring = False
        self._quiet_until = 0.0
        self._longest = settings.max_request_seconds
        token = known_ids(artifact, chosen.form)[0]
        self._filler = partial(filler, token)
        try:
            self.runtime.run([self._filler(self.manifest.max_length)])
        except Exception as error:  # every runtime raises its own
            raise RuntimeUnavailable(f"{name}: the graph does not run an input of max_length; make it again") from error
        self.cost = measure(self.runtime, self.manifest.max_length, token)
        self.density = _FIRST_DENSITY
        limits = limits_of(settings).sliced(self.cost)
        self.batcher: Batcher[Tokens, Logits] = Batcher(self.runtime.run, len, limits, self.cost, self, self._well)

    @property
    def healthy(self) -> bool:
        """Whether the runtime has not failed several times in a row, and ends what it runs."""
        return not self.trouble

    @property
    def stuck(self) -> bool:
        """Whether a batch has been running for longer than any request may take."""
        return self.batcher.overdue(self._longest)

    @property
    def trouble(self) -> str:
        """Why it is not healthy; empty if it is."""
        if self.stuck:
            return "a batch does not end"
        return "the runtime fails" if self.batcher.failures >= BROKEN else ""

    @property
    def facts(self) -> dict[str, str]:
        """What runs it, as labels of a metric."""
        return {
            "runtime": self.kind,
            "device": self.runtime.device,
            "form": self.form,
            "numbers": self.numbers,
            "threads": str(self.runtime.threads),
            "weights_kept": f"{self.weights_kept:g}",
        }

    @property
    def choice(self) -> dict[str, object]:
        """Which form answers, and why, as the log says it once the model is ready."""
        return {
            "model": self.name,
            "version": self.version,
            "form": self.form,
            "why": self.why,
            "difference": self.difference,
        }

    @property
    def weights_kept(self) -> float:
        """Share of the dense encoder's weights that is kept."""
        return round(self.manifest.weights["kept"] / self.manifest.weights["dense"], 4)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep this version open while a request needs it."""
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1
            if self._retiring and not self._uses:
                self._idle.set()

    def learn(self, characters: int, tokens: int) -> None:
        """How many tokens a character becomes, from texts that were tokenised whole."""
        self.density += _SETTLING * (min(max(tokens / characters, _SPARSE), _DENSE) - self.density)

    def _well(self) -> bool:
        """Whether the runtime runs a small input. Called between two batches."""
        try:
            self.runtime.run([self._filler(4)])
        except ENDING:
            raise
        except BaseException:  # whatever a runtime raises
            return False
        return True

    async def probe(self) -> None:
        """Send one small input through the queue, as a request would go."""
        await self.batcher.submit([self._filler(4)], clock() + self._longest)

    async def retire(self) -> None:
        """Wait for the requests that use it, finish queued work, free the runtime. A batch that does not end is
        stopped. A runtime that cannot be stopped is left: it must not be freed while it runs."""
        self._retiring = True
        if self._uses:
            await self._idle.wait()
        if await self.batcher.close(self._longest, self.runtime.stop):
            await asyncio.to_thread(self.runtime.close)
        else:
            logs.problem("a batch does not end; its model is not freed", model=self.name, version=self.version)

    def batch(self, size: int, tokens: int, started: float, finished: float, error: BaseException | None) -> object:
        """See `batcher.Observer`."""
        self.statistics.ran(size, finished - started)
        self._instruments.batch_size.labels(self.name, self.version).observe(size)
        self._instruments.batch_tokens.labels(self.name, self.version).observe(tokens)
        if error is not None:
            self._instruments.batch_failures.labels(self.name, self.version).inc()
            if finished >= self._quiet_until:
                self._quiet_until = finished + _QUIET
                said = {"model": self.name, "version": self.version, "inputs": size, "tokens": tokens}
                logs.LOGGER.error("a batch failed", exc_info=error, extra={"fields": said})
        return self._tracer.batch(self.name, size, tokens, started, finished) if self._tracer else None

    def saved(self, reason: str, inputs: int, tokens: int, seconds: float) -> None:
        """See `batcher.Observer`."""
        for what, amount in (("inputs", inputs), ("tokens", tokens), ("seconds", seconds)):
            self._instruments.saved[what].labels(self.name, self.version, reason).inc(amount)


def measure(runtime: Runtime, max_length: int, token: int) -> Cost:
    """What a batch costs, from a short input and a long one of a token; the best of a few runs of each."""
    short, long = lengths(max_length)
    quick, slow = (min(seconds(runtime, [filler(token, size)]) for _ in range(_ROUNDS)) for size in (short, long))
    return Cost.of(short, quick, long, slow)


def limits_of(settings: Settings) -> Limits:
    """What the settings say of one queue."""
    return Limits(
        settings.max_batch_tokens,
        settings.max_queue_tokens,
        settings.max_queue_seconds,
        settings.max_overtake_seconds,
    )
