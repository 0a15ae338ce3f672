"""Makes a model of an artifact while the service answers, within a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pgb_core.artifact import Manifest, open_artifact
from pgb_core.errors import ArtifactError, PGBError
from pgb_core.inference.runtimes.base import Runtime
from service.batching.futures import settle
from service.errors import ENDING, LoadFailed, ServiceError, Unavailable
from service.models.memory import give_back
from service.models.model import Model
from service.models.names import unreachable
from service.observe import logs
from service.observe.instruments import Instruments
from service.observe.metrics import clock
from service.observe.tracing import Tracer
from service.settings import Settings

Result = TypeVar("Result")


class Loader:
    """Makes models on threads of their own, and measures how long that takes."""

    def __init__(self, settings: Settings, instruments: Instruments, tracer: Tracer | None) -> None:
        self._settings = settings
        self._instruments = instruments
        self._tracer = tracer

    async def make(self, folder: Path, name: str, version: str | None, fits: Callable[[str, Manifest], None]) -> Model:
        """The model of a folder, ready to answer. Without a version it has a number from its digest. fits: called with
        its name before anything is loaded, raises LoadFailed where it cannot be served. Raises LoadFailed, whatever
        goes wrong."""
        opened = _Opened()

        def make() -> Model:
            artifact = open_artifact(folder)
            number = str(int(artifact.manifest.digest[:12], 16))  # v2 clients read versions as numbers
            if unreachable(name):
                raise LoadFailed(
                    f"{folder}: no model can be named {name}, as routes would not find it; give it another name, "
                    "NAME=PATH, or rename its folder"
                )
            fits(name, artifact.manifest)
            model = Model(artifact, name, version or number, self._settings, self._instruments, self._tracer, opened)
            try:
                artifact.check_current()
            except ArtifactError:
                model.runtime.close()
                raise
            return model

        start = clock()
        try:
            model = await self.apart(make, f"{name}: it did not load", opened.stop)
        except ENDING:
            raise
        except BaseException as error:  # what reads a file, or runs a graph, raises what it likes
            if isinstance(error, (PGBError, ServiceError)):
                raise LoadFailed(str(error)) from error
            logs.LOGGER.exception("a model does not load")
            raise LoadFailed(f"{name}: it does not load ({type(error).__name__}); the log says more") from error
        await asyncio.to_thread(give_back)
        self._instruments.load_seconds.labels(model.name, model.version).set(clock() - start)
        return model

    async def apart(self, work: Callable[[], Result], late: str, stop: Callable[[], None] = lambda: None) -> Result:
        """Do work on a thread that is abandoned if the result is no longer wanted, or if it takes longer than a load
        may: then it raises LoadFailed. late: what to say of that. stop: called when the thread is abandoned."""
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Result] = loop.create_future()

        def load() -> None:
            try:
                result: Result | BaseException = work()
            except BaseException as error:  # whoever waits must hear of it
                result = error
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, made, result)

        threading.Thread(target=load, name="pgb-load", daemon=True).start()
        limit = self._settings.max_load_seconds
        try:
            async with asyncio.timeout(limit) as within:
                return await made
        except TimeoutError as error:
            if not within.expired():  # it is what loading raised, as a mounted folder that does not answer does
                raise
            raise LoadFailed(f"{late} within {limit:g} seconds") from error
        finally:
            if not made.done() or made.cancelled():
                stop()


class _Opened:
    """The runtimes of a model that is being made, one for each form that was tried: the one that is chosen runs again
    after the others. Once stopped, one that opens later is stopped, too."""

    def __init__(self) -> None:
        self._runtimes: list[Runtime] = []
        self._stopped = False
        self._lock = threading.Lock()

    def __call__(self, runtime: Runtime) -> None:
        """It is open, and has not run yet. Raises Unavailable when nobody wants it any more."""
        with self._lock:
            self._runtimes.append(runtime)
            if self._stopped:
                runtime.stop()
                raise Unavailable("the load was given up")

    def stop(self) -> None:
        """Nobody waits for the model any more."""
        with self._lock:
            self._stopped = True
            for runtime in self._runtimes:
                with suppress(Exception):  # it is closed already, and each has its own error for that
                    runtime.stop()
