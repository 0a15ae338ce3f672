"""The served models by name and version, their shares of traffic, and loading and unloading while serving."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pgb_core.artifact import Manifest, open_artifact
from pgb_core.errors import PGBError
from pgb_core.hub import located
from pgb_core.inference.runtimes.base import Runtime
from service.batching.futures import settle
from service.errors import (
    ENDING,
    InvalidInput,
    LoadFailed,
    Overloaded,
    ServiceError,
    Unavailable,
    UnknownModel,
    WrongTask,
)
from service.models.folder import NO_FOLDER, find, folders, loadable
from service.models.memory import give_back
from service.models.model import Model
from service.observe import logs
from service.observe.instruments import Instruments
from service.observe.metrics import clock
from service.observe.tracing import Tracer
from service.settings import Settings

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<path>.+)")
_PROBE_SECONDS = 1.0
Suits = Callable[[Manifest], bool]
_NO_VERSION = "that version of the model is not served; GET /v1/models lists them"


@dataclass
class Served:
    """The versions of one name. weights: share of unversioned traffic, summing to 1."""

    versions: dict[str, Model] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    _credit: dict[str, float] = field(default_factory=dict)

    def next(self) -> Model:
        """Smooth weighted round robin: every run of requests is split as the weights say."""
        for version, weight in self.weights.items():
            self._credit[version] = self._credit.get(version, 0.0) + weight
        best = max(self.weights, key=lambda version: self._credit[version])
        self._credit[best] -= 1.0
        return self.versions[best]

    def split(self, weights: Mapping[str, float]) -> None:
        """Set the shares, scaled to sum to 1."""
        total = sum(weights.values())
        self.weights = {version: weight / total for version, weight in weights.items() if weight > 0}
        self._credit = {}


@dataclass(frozen=True)
class State:
    """A version as the repository index shows it: READY, LOADING, UNLOADING or UNAVAILABLE."""

    name: str
    version: str
    state: str
    reason: str = ""


class Registry:
    """All models of a process. One change at a time; requests go on during it."""

    def __init__(self, settings: Settings, instruments: Instruments, tracer: Tracer | None = None) -> None:
        self._settings = settings
        self._tracer = tracer
        self._instruments = instruments
        self._served: dict[str, Served] = {}
        self._other: dict[tuple[str, str], State] = {}
        self._change = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._prober: asyncio.Task[None] | None = None
        self._loads: set[asyncio.Task[Model]] = set()
        self.started = False
        instruments.watch(self._figures)

    @property
    def ready(self) -> bool:
        """Whether every model has made a forward pass and none fails."""
        return self.started and all(model.healthy for model in self.models)

    @property
    def models(self) -> list[Model]:
        """Every version that answers, in the order loaded."""
        return [model for served in list(self._served.values()) for model in list(served.versions.values())]

    def served(self, name: str) -> Served:
        """All versions of a name. Raises UnknownModel; Unavailable while models are still being loaded."""
        found = self._served.get(name)
        if found is None:
            raise self._absent("no model of that name is served; GET /v1/models lists them")
        return found

    def meant(self, name: str | None) -> Model | None:
        """The model of a request whose body was not read: the one that its path names, or the only one."""
        if name is None and len(self._served) == 1:
            name = next(iter(self._served))
        return None if name is None or name not in self._served else self.peek(name)

    def check(self, flow: Hashable, body: int) -> None:
        """Raises Overloaded, with the shortest wait, when no model would take a request of so many bytes."""
        refusals = []
        for model in self.models:
            try:
                model.batcher.check(flow, body)
            except Overloaded as error:
                refusals.append(error)
            else:
                return
        if refusals:
            raise min(refusals, key=lambda error: error.retry_after)

    def default(self, task: str, suits: Suits | None = None) -> str | None:
        """The model that answers requests for a task that name none. suits: the first suitable model is preferred."""
        first = {name: next(iter(served.versions.values())).manifest for name, served in self._served.items()}
        named = [name for name, manifest in first.items() if manifest.task == task]
        if suits is not None:
            named = [name for name in named if suits(first[name])] or named
        return named[0] if named else None

    def peek(self, name: str, version: str | None = None) -> Model:
        """A version of a name, without counting it as traffic. Raises UnknownModel."""
        served = self.served(name)
        if version is None:
            return max(served.versions.values(), key=lambda model: served.weights.get(model.version, 0.0))
        if version not in served.versions:
            raise UnknownModel(_NO_VERSION)
        return served.versions[version]

    def pick(self, name: str | None, version: str | None, task: str, suits: Suits | None = None) -> Model:
        """The model for one request, by name and version. Without a version, the split of the traffic chooses one.
        Without a name, it is the default of the task. Raises UnknownModel, WrongTask, or Unavailable as `served`."""
        name = self.default(task, suits) if name is None else name
        if name is None:
            raise self._absent(f"no model for {task} is served")
        model = self.served(name).next() if version is None else self.peek(name, version)
        if model.manifest.task != task:
            raise WrongTask(f"this model is for {model.manifest.task}, not for {task}")
        return model

    async def start(self) -> None:
        """Load what the settings name. Raises LoadFailed."""
        for given in self._settings.artifacts:
            match = _NAMED.fullmatch(given)
            name, path = (match["name"], match["path"]) if match else (None, given)
            try:
                folder = await asyncio.to_thread(located, path)  # which may fetch it from the hub
            except PGBError as error:
                raise LoadFailed(str(error)) from error
            model = await self._make(folder, name)
            if model.name in self._served:
                raise LoadFailed(f"{path}: another artifact is named {model.name}; give this one a name, NAME={path}")
            self._admit(model, 1.0)
            self._instruments.events.labels(model.name, "load").inc()
        if not self._settings.artifacts and self._settings.models_dir is not None:
            for name in await asyncio.to_thread(folders, self._settings.models_dir):
                try:
                    await self.load(name)
                except UnknownModel as error:
                    raise LoadFailed(f"{self._settings.models_dir / name}: holds no artifact") from error
            if not self._served:
                logs.warning("the folder of models holds none; nothing is served until one is loaded")
        self.started = True
        self._prober = asyncio.create_task(self._probe())

    async def load(self, name: str, version: str | None = None, share: float = 1.0) -> Model:
        """Load a version from the models' folder, check it, and give it a share of the traffic.

        With the whole share the versions before it are retired. Raises UnknownModel when the folder
        holds no such model, LoadFailed when it does not load; then nothing has changed. A load that has
        begun ends, whoever stops waiting for it.
        """
        folder = self._settings.models_dir
        if folder is None:
            raise InvalidInput("no folder of models was named at start; start with --models-dir")
        loading = asyncio.create_task(self._load(folder, name, version, share))
        self._loads.add(loading)
        loading.add_done_callback(self._loads.discard)
        loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may have no other listener
        return await asyncio.shield(loading)

    async def _load(self, folder: Path, name: str, version: str | None, share: float) -> Model:
        async with self._change:
            if self._retiring:  # so that memory holds one version more than is served, not many
                await asyncio.wait(self._retiring)
            path: Path = folder
            label: str | None = None
            try:
                path, label = await asyncio.to_thread(find, folder, name, version)
                self._other[name, label or ""] = State(name, label or "", "LOADING")
                model = await self._make(path, name, label)
                await self._check_task(model)
            except LoadFailed as error:
                self._failed(name, label or "", path, error)
                raise
            for key in ((name, ""), (name, label or "")):
                self._other.pop(key, None)
            before = name in self._served
            self._admit(model, share)
            self._instruments.events.labels(name, "swap" if before else "load").inc()
            return model

    async def _check_task(self, model: Model) -> None:
        """Free a model that is for another task than the versions that are served under its name. Raises LoadFailed."""
        served = self._served.get(model.name)
        task = model.manifest.task
        if served is None or next(iter(served.versions.values())).manifest.task == task:
            return
        await model.retire()
        self._forget(model)
        raise LoadFailed(f"{model.name}: the new version is for {task}, unlike the one that is served")

    def _failed(self, name: str, version: str, path: Path, error: LoadFailed) -> None:
        """Log and count a load that failed, and show it in the index. Any key may read that, so it has name and version
        in place of the path; the log has the path.

        A name that neither the folder nor the index is known to hold is left out: it is only what somebody sent.
        """
        known = name in self._served or any(name == other for other, _ in self._other)
        shown = name if known else ""
        logs.problem("a version does not load", model=shown, version=version, reason=str(error))
        self._instruments.events.labels(shown, "failure").inc()
        if known:
            reason = str(error).replace(str(path), f"{name} {version}".rstrip())
            self._other[name, version] = State(name, version, "UNAVAILABLE", reason)

    async def unload(self, name: str, version: str | None = None) -> None:
        """Retire one version, or all of a name. Raises UnknownModel."""
        async with self._change:
            served = self.served(name)
            if version is not None and version not in served.versions:
                raise UnknownModel(_NO_VERSION)
            for label in [version] if version else list(served.versions):
                self._retire(name, label)
            self._instruments.events.labels(name, "unload").inc()

    def split(self, name: str, weights: Mapping[str, float]) -> None:
        """Share the traffic of a name among its versions. Raises UnknownModel or InvalidInput."""
        served = self.served(name)
        if not set(weights) <= set(served.versions):
            raise UnknownModel(_NO_VERSION)
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise InvalidInput("weights are not negative, and one of them is more than 0")
        served.split(weights)

    def index(self) -> list[State]:
        """Every version once: those that answer, then those that are loading or unloading, or failed to load."""
        ready = [
            State(model.name, model.version, "UNAVAILABLE" if trouble else "READY", trouble)
            for model in self.models
            for trouble in (model.trouble,)
        ]
        served = {(state.name, state.version) for state in ready}  # also while the same version is loaded again
        return [*ready, *(state for key, state in self._other.items() if key not in served)]

    async def repository(self) -> list[State]:
        """The versions of the index, then those in the folder of models that are not loaded. Raises Unavailable."""
        folder = self._settings.models_dir
        if folder is None:
            return self.index()
        try:
            held = await asyncio.to_thread(loadable, folder)
        except OSError as error:
            raise Unavailable(NO_FOLDER) from error
        known = self.index()
        names, versions = {state.name for state in known}, {(state.name, state.version) for state in known}
        # An artifact without a folder of its version has one only once it is opened.
        others = [one for one in held if one not in versions and (one[1] or one[0] not in names)]
        return [*known, *(State(name, version, "UNAVAILABLE", "unloaded") for name, version in others)]

    async def close(self) -> None:
        """Answer what was accepted, then free everything."""
        if self._prober is not None:
            self._prober.cancel()
        for loading in self._loads:  # nobody will ask what it loads
            loading.cancel()
        async with self._change:
            for name, served in list(self._served.items()):
                for version in list(served.versions):
                    self._retire(name, version)
        await asyncio.gather(*self._retiring)

    async def _make(self, path: Path, name: str | None, version: str | None = None) -> Model:
        opened = _Opened()

        def make() -> Model:
            artifact = open_artifact(path)
            number = str(int(artifact.manifest.digest[:12], 16))  # v2 clients read versions as numbers
            label = name or artifact.manifest.name
            return Model(artifact, label, version or number, self._settings, self._instruments, self._tracer, opened)

        start = clock()
        try:
            model = await self._within_limit(make, opened)
        except ENDING:
            raise
        except BaseException as error:  # what reads a file, or runs a graph, raises what it likes
            if isinstance(error, TimeoutError):
                limit = self._settings.max_load_seconds
                raise LoadFailed(f"{name or path.name}: it did not load within {limit:g} seconds") from error
            if isinstance(error, (PGBError, ServiceError)):
                raise LoadFailed(str(error)) from error
            logs.LOGGER.exception("a model does not load")
            raise LoadFailed(
                f"{name or path.name}: it does not load ({type(error).__name__}); the log says more"
            ) from error
        await asyncio.to_thread(give_back)
        self._instruments.load_seconds.labels(model.name, model.version).set(clock() - start)
        return model

    async def _within_limit(self, make: Callable[[], Model], opened: _Opened) -> Model:
        """Load on a thread that is abandoned if it takes too long, or if the model is no longer wanted."""
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Model] = loop.create_future()

        def load() -> None:
            try:
                result: Model | BaseException = make()
            except BaseException as error:  # whoever waits must hear of it
                result = error
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, made, result)

        threading.Thread(target=load, name="pgb-load", daemon=True).start()
        try:
            async with asyncio.timeout(self._settings.max_load_seconds):
                return await made
        finally:
            if not made.done() or made.cancelled():
                opened.stop()

    def _admit(self, model: Model, share: float) -> None:
        served = self._served.setdefault(model.name, Served())
        same = served.versions.get(model.version)
        if same is not None:
            self._retiring_task(same)
        served.versions[model.version] = model
        others = {version: weight for version, weight in served.weights.items() if version != model.version}
        if share >= 1:
            served.split({model.version: 1.0})
            for version in [version for version in served.versions if version != model.version]:
                self._retire(model.name, version)
            return
        if not others:  # versions without traffic stay, so that one can go back to them
            served.split({model.version: 1.0})
            return
        left = sum(others.values())
        served.split({model.version: share, **{v: w / left * (1 - share) for v, w in others.items()}})

    def _retire(self, name: str, version: str) -> None:
        served = self._served[name]
        model = served.versions.pop(version)
        left = {other: weight for other, weight in served.weights.items() if other != version}
        if not served.versions:
            del self._served[name]
        else:
            served.split(left or dict.fromkeys(served.versions, 1.0))
        self._retiring_task(model)

    def _retiring_task(self, model: Model) -> None:
        key = (model.name, model.version)
        self._other[key] = State(*key, "UNLOADING")

        async def retire() -> None:
            nonlocal model
            try:
                await model.retire()
            finally:
                self._forget(model)
                self._other.pop(key, None)
                del model
                await asyncio.to_thread(give_back)

        task = asyncio.create_task(retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _forget(self, model: Model) -> None:
        """Drop the metrics of an unloaded version, unless the same version was loaded again."""
        served = self._served.get(model.name)
        if served is None or model.version not in served.versions:
            self._instruments.forget(model.name, model.version)

    def _absent(self, said: str) -> ServiceError:
        return UnknownModel(said) if self.started else Unavailable("the models are being loaded")

    async def _probe(self) -> None:
        """Try broken models, so that they count as ready again once they answer. Log those whose batch does not end,
        which cannot be tried."""
        told: set[tuple[str, str]] = set()
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            stuck = {(model.name, model.version) for model in self.models if model.stuck}
            for name, version in stuck - told:
                limit = self._settings.max_request_seconds
                logs.problem("a batch does not end; its model is not ready", model=name, version=version, seconds=limit)
            told = stuck
            for model in self.models:
                if not model.healthy and not model.stuck:
                    try:
                        with model.in_use():
                            await model.probe()
                    except ServiceError:
                        continue

    def _figures(self) -> list[tuple[str, str, float, float, Mapping[str, str]]]:
        return [(m.name, m.version, m.batcher.waiting_inputs, m.batcher.waiting_tokens, m.facts) for m in self.models]


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
