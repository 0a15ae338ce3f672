"""The states of the process: loading, ready, draining."""

from __future__ import annotations

import asyncio

from service.errors import ENDING, LoadFailed, Unavailable
from service.models.model import Model
from service.models.registry import Registry
from service.models.repository import Repository
from service.models.watch import watch
from service.observe.instruments import Instruments
from service.observe.logs import LOGGER, event, problem


class Lifecycle:
    """The state that probes and load balancers need. Liveness does not depend on it."""

    def __init__(self, registry: Registry, repository: Repository, instruments: Instruments, longest: float) -> None:
        """longest: seconds that a request may take."""
        self._registry = registry
        self._repository = repository
        self._instruments = instruments
        self._longest = longest
        self._loading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.failure: LoadFailed | None = None
        self.loaded = asyncio.Event()
        self.draining = False

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return not self.draining and self._registry.ready

    def check(self) -> None:
        """Raises Unavailable with the reason when not ready."""
        if self.draining:
            raise Unavailable("the service is shutting down")
        if not self._registry.started:
            raise Unavailable("the models are being loaded")
        if not self._registry.ready:
            raise Unavailable("a model does not answer")

    def check_model(self, model: Model) -> None:
        """Raises Unavailable when requests for this model should not be sent here."""
        if self.draining or not model.healthy:
            raise Unavailable("the model is not ready")

    def load(self) -> asyncio.Task[None]:
        """Start loading while probes are served. `loaded` is set when loading has ended, with or without success."""
        self._loading = asyncio.create_task(self._load())
        return self._loading

    def drain(self) -> None:
        """From now on the service is not ready. Requests that still arrive are served."""
        self.draining = True
        self._instruments.draining.set(1)
        event("draining")

    async def close(self) -> None:
        """Stop loading, answer what was accepted, free everything."""
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._watching is not None:
            self._watching.cancel()
        await self._repository.close()

    async def _load(self) -> None:
        try:
            await self._repository.start()
            self._watching = asyncio.create_task(watch(self._registry, self._longest))
            for model in self._registry.models:
                event("model ready", **model.choice)
        except LoadFailed as error:
            self._fail(error)
        except ENDING:
            raise
        except BaseException as error:  # a process that neither serves nor ends would help nobody
            LOGGER.exception("unexpected")
            self._fail(LoadFailed(f"loading failed ({type(error).__name__}: {error})"))
        finally:
            self.loaded.set()

    def _fail(self, error: LoadFailed) -> None:
        self.failure = error
        problem("loading failed", reason=str(error))
