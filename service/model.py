"""One version of one model: tokenizer, runtime, line of waiting inputs, and what it has done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pgb_core.artifact import Artifact
from service import logs
from service.batcher import Batcher, Cost, Limits
from service.instruments import Instruments
from service.metrics import Statistics, clock
from service.runtimes.choose import open_runtime
from service.runtimes.protocol import Logits, Runtime
from service.runtimes.selfcheck import self_check
from service.settings import Settings
from service.tokenizer import Tokenizer, Tokens
from service.tracing import Tracer

BROKEN = 3
_QUIET = 1.0  # seconds between two failures that are logged
_SHORT, _LONG, _ROUNDS = 16, 256, 3
_LEAST = 8  # tokens: what a batch costs beside its run, however quick that is


class Model:
    """Ready to answer once it is made. Making it blocks: it loads, checks itself and measures itself.

    Raises Unavailable when the runtime cannot be had, or answers otherwise than the artifact says.
    """

    def __init__(
        self,
        artifact: Artifact,
        name: str,
        version: str,
        settings: Settings,
        instruments: Instruments,
        tracer: Tracer | None = None,
    ) -> None:
        self.manifest = artifact.manifest
        self.name = name
        self.version = version
        self.tokenizer = Tokenizer(artifact.tokenizer, self.manifest.max_length)
        self.runtime: Runtime = open_runtime(
            artifact, settings.runtime, settings.device, settings.precision, settings.threads
        )
        self.kind, self.precision = settings.runtime, settings.precision
        self.statistics = Statistics()
        self._instruments = instruments
        self._tracer = tracer
        self._uses = 0
        self._idle = asyncio.Event()
        self._retiring = False
        self._quiet_until = 0.0
        self.difference = self_check(self.runtime, artifact, settings.precision)
        self.cost = measure(self.runtime, self.manifest.max_length)
        limits = Limits(
            settings.max_batch_tokens,
            settings.max_queue_tokens,
            settings.max_queue_seconds,
            settings.max_overtake_seconds,
        )
        self.batcher: Batcher[Tokens, Logits] = Batcher(self.runtime.run, len, limits, self.cost, self)

    @property
    def healthy(self) -> bool:
        """Whether the runtime answered lately."""
        return self.batcher.failures < BROKEN

    @property
    def facts(self) -> dict[str, str]:
        """What runs it, as labels of a metric."""
        return {
            "runtime": self.kind,
            "device": self.runtime.device,
            "precision": self.precision,
            "threads": str(self.runtime.threads),
            "weights_kept": f"{self.weights_kept:g}",
        }

    @property
    def weights_kept(self) -> float:
        """Share of the dense encoder's."""
        return round(self.manifest.weights["kept"] / self.manifest.weights["dense"], 4)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While a request needs this version, which is not closed before."""
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1
            if self._retiring and not self._uses:
                self._idle.set()

    async def probe(self) -> None:
        """One small input through the line, as a request would go."""
        await self.batcher.submit([_filler(4)])

    async def retire(self) -> None:
        """Wait for the requests that use it, finish what waits, free the runtime."""
        self._retiring = True
        if self._uses:
            await self._idle.wait()
        await self.batcher.close()
        await asyncio.to_thread(self.runtime.close)

    def batch(self, size: int, tokens: int, started: float, finished: float, error: Exception | None) -> object:
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


def measure(runtime: Runtime, max_length: int) -> Cost:
    """What a batch costs, from a short input and a long one; the best of a few runs of each."""
    short, long = min(_SHORT, max_length // 2), min(_LONG, max_length)
    quick, slow = (min(_seconds(runtime, size) for _ in range(_ROUNDS)) for size in (short, long))
    per_token = max((slow - quick) / (long - short), 1e-9)
    return Cost(max(quick - short * per_token, _LEAST * per_token), per_token)


def _seconds(runtime: Runtime, size: int) -> float:
    start = clock()
    runtime.run([_filler(size)])
    return clock() - start


def _filler(size: int) -> Tokens:
    return Tokens([1] * size, [0] * size)
