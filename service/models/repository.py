"""Loads, replaces and unloads models while serving, and says in which state each version is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from pgb_core.artifact import MANIFEST, Manifest, open_artifact
from pgb_core.errors import PGBError
from pgb_core.hub import located
from service.errors import InvalidInput, LoadFailed, ServiceError, Unavailable, UnknownModel
from service.models.folder import NO_FOLDER, check, find, folders, labels, loadable, passed_over, version_of
from service.models.loader import Loader
from service.models.memory import give_back
from service.models.model import Model
from service.models.registry import Registry
from service.observe import logs
from service.observe.instruments import Instruments
from service.observe.shared import Shared
from service.settings import Settings

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<path>.+)")
Asked = ParamSpec("Asked")
Result = TypeVar("Result")


@dataclass(frozen=True)
class State:
    """A version as the index shows it: READY, LOADING, UNLOADING or UNAVAILABLE."""

    name: str
    version: str
    state: str
    reason: str = ""


class Repository:
    """Changes which models a registry has. One change at a time; requests go on during it.

    owner: of the key with which a client asks for a change, which is then logged. Empty at start.
    """

    def __init__(self, registry: Registry, loader: Loader, settings: Settings, instruments: Instruments) -> None:
        self._registry = registry
        self._loader = loader
        self._settings = settings
        self._instruments = instruments
        self._other: dict[tuple[str, str], State] = {}  # of versions that do not answer
        self._change = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._loads: set[asyncio.Task[Model]] = set()
        self._held = Shared(self._read)

    async def start(self) -> None:
        """Load what the settings name. Raises LoadFailed, also where the folder of models cannot be read."""
        if self._settings.models_dir is not None:
            await self._looked(check, self._settings.models_dir)
        for name, folder in (await self._named()).items():
            models = self._settings.models_dir
            version = None if models is None else version_of(folder, models, name)
            model = await self._loader.make(folder, name, version, self._check_task)
            self._registry.put(model, 1.0)
            self._instruments.events.labels(model.name, "load").inc()
        if not self._settings.artifacts and self._settings.models_dir is not None:
            await self._load_all(self._settings.models_dir)
        self._registry.started = True

    async def load(self, name: str, version: str | None = None, share: float = 1.0, owner: str = "") -> Model:
        """Load a version from the models' folder, check it, and give it a share of the traffic.

        With the whole share the versions before it are retired. Raises UnknownModel when the folder
        holds no such model, LoadFailed when it does not load; then nothing has changed. Raises Unavailable for a
        client that asks while `start` loads, which would then replace what was asked for. A load that has
        begun ends, whoever stops waiting for it.
        """
        folder = self._settings.models_dir
        if folder is None:
            raise InvalidInput("no folder of models was named at start; start with --models-dir")
        if owner and not self._registry.started:
            raise Unavailable("the models are being loaded")
        loading = asyncio.create_task(self._load(folder, name, version, share, owner))
        self._loads.add(loading)
        loading.add_done_callback(self._loads.discard)
        loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may have no other listener
        return await asyncio.shield(loading)

    async def unload(self, name: str, version: str | None = None, owner: str = "") -> None:
        """Retire one version, or all of a name; those that failed to load leave the index. Raises UnknownModel."""
        async with self._change:
            failed = [key for key in self._failures() if key[0] == name and version in (None, key[1])]
            for key in failed:
                del self._other[key]
            served = self._registry.get(name)
            if failed and (served is None or (version is not None and version not in served.versions)):
                return
            self._registry.peek(name, version)
            versions = [version] if version else list(self._registry.served(name).versions)
            for label in versions:
                self._retire(self._registry.take(name, label))
            self._instruments.events.labels(name, "unload").inc()
            self._changed("model unloaded", owner, name, {"model": name, "versions": versions})

    def split(self, name: str, weights: Mapping[str, float], owner: str = "") -> None:
        """Share the traffic of a name among its versions. Raises UnknownModel or InvalidInput."""
        self._registry.split(name, weights)
        self._changed("traffic split", owner, name, {"model": name})

    def index(self) -> list[State]:
        """Every version once: those that answer, then those that are loading or unloading, or failed to load."""
        ready = [
            State(model.name, model.version, "UNAVAILABLE" if trouble else "READY", trouble)
            for model in self._registry.models
            for trouble in (model.trouble,)
        ]
        served = {(state.name, state.version) for state in ready}  # also while the same version is loaded again
        return [*ready, *(state for key, state in self._other.items() if key not in served)]

    async def contents(self) -> list[State]:
        """The versions of the index, then those in the folder of models that are not loaded.

        Raises Unavailable where the folder cannot be read, or not within the time of a request.
        """
        if self._settings.models_dir is None:
            return self.index()
        try:
            held = await asyncio.wait_for(self._held.next(), self._settings.max_request_seconds)
        except OSError as error:  # also a TimeoutError
            raise Unavailable(NO_FOLDER) from error
        self._left(set(held))
        known = self.index()
        names, versions = {state.name for state in known}, {(state.name, state.version) for state in known}
        # An artifact without a folder of its version has one only once it is opened.
        others = [one for one in held if one not in versions and (one[1] or one[0] not in names)]
        return [*known, *(State(name, version, "UNAVAILABLE", "unloaded") for name, version in others)]

    async def _read(self) -> list[tuple[str, str]]:
        """Names and versions in the folder of models. Raises OSError."""
        folder = self._settings.models_dir
        return [] if folder is None else await asyncio.to_thread(loadable, folder)

    def _failures(self) -> list[tuple[str, str]]:
        """Names and versions of what failed to load."""
        return [key for key, state in self._other.items() if state.state == "UNAVAILABLE"]

    def _left(self, held: set[tuple[str, str]]) -> None:
        """Forget what failed to load and is gone from the folder of models. held: names and versions in it."""
        names = {name for name, _ in held}
        for key in self._failures():
            if not (key in held if key[1] else key[0] in names):
                del self._other[key]

    async def close(self) -> None:
        """Answer what was accepted, then free everything."""
        for loading in self._loads:  # nobody will ask what it loads
            loading.cancel()
        async with self._change:
            for model in self._registry.models:
                self._retire(self._registry.take(model.name, model.version))
        await asyncio.gather(*self._retiring)

    async def _named(self) -> dict[str, Path]:
        """Where the artifacts that the settings name lie, by the names of their models. Raises LoadFailed where one is
        not whole, or has the name of another: before the first is loaded, which takes longer than to read them all."""
        found: dict[str, Path] = {}
        for given in self._settings.artifacts:
            match = _NAMED.fullmatch(given)
            name, path = (match["name"], match["path"]) if match else (None, given)
            if name is not None and Path(given).exists():
                raise LoadFailed(
                    f"{given}: is there as a whole, and could also be NAME=PATH; write ./{given} for what is there, or "
                    f"{name}=./{path}"
                )
            try:
                folder = await asyncio.to_thread(located, path)  # which may fetch it from the hub
                artifact = await asyncio.to_thread(open_artifact, folder)
            except PGBError as error:
                raise LoadFailed(str(error)) from error
            label = name or artifact.manifest.name
            if label in found:
                raise LoadFailed(f"{path}: another artifact is named {label}; give this one a name, NAME={path}")
            found[label] = folder
        return found

    async def _load_all(self, folder: Path) -> None:
        """Load every model of the folder. Raises LoadFailed where one does not load, or the folder is itself one."""
        if await self._looked((folder / MANIFEST).is_file):
            raise LoadFailed(
                f"models_dir: {folder} is an artifact, and no folder of them; name it as an artifact, or name the "
                "folder that it lies in"
            )
        for path in await self._looked(passed_over, folder):
            logs.warning(
                "an artifact is passed over, as no model or version can be named like its folder; rename it, with "
                "letters, digits, dots, dashes and underscores",
                path=str(path),
            )
        for name in await self._looked(folders, folder):
            await self._load_latest(folder, name)
        if not self._registry.models:
            logs.warning("the folder of models holds none; nothing is served until one is loaded")

    async def _load_latest(self, folder: Path, name: str) -> None:
        """Load the latest version of a name that loads. Raises LoadFailed where none does: were the model missing in
        silence, requests that name none could go to another one."""
        failed: list[ServiceError] = []
        try:
            for version in await self._looked(labels, folder, name):
                try:
                    await self.load(name, version)
                except (LoadFailed, UnknownModel) as error:  # the folder may change at this moment
                    failed.append(error)
                else:
                    return
        except UnknownModel as error:
            raise LoadFailed(f"{folder / name}: holds no artifact") from error
        more = f"; none of the {len(failed)} versions loads" if len(failed) > 1 else ""
        raise LoadFailed(f"{failed[0]}{more}") from failed[0]

    async def _load(self, folder: Path, name: str, version: str | None, share: float, owner: str) -> Model:
        async with self._change:
            if self._retiring:  # so that memory holds one version more than is served, not many
                await asyncio.wait(self._retiring)
            path: Path = folder
            label: str | None = None
            try:
                path, label = await self._looked(find, folder, name, version)
                self._other[name, label or ""] = State(name, label or "", "LOADING")
                model = await self._loader.make(path, name, label, self._check_task)
            except LoadFailed as error:
                self._failed(name, label or "", path, error)
                raise
            for key in ((name, ""), (name, label or "")):
                self._other.pop(key, None)
            before = self._registry.get(name) is not None
            for replaced in self._registry.put(model, share):
                self._retire(replaced)
            self._instruments.events.labels(name, "swap" if before else "load").inc()
            self._changed("model ready", owner, name, model.choice)
            return model

    async def _looked(self, look: Callable[Asked, Result], *at: Asked.args, **more: Asked.kwargs) -> Result:
        """What a look into the folder of models finds. Raises LoadFailed where the folder does not answer within the
        time of a load, as where a mount has gone away."""
        return await self._loader.apart(partial(look, *at, **more), "the folder of models does not answer")

    def _changed(self, message: str, owner: str, name: str, fields: Mapping[str, object]) -> None:
        """Log what a client changed of a name, with the shares that its versions have now."""
        served = self._registry.get(name)
        if owner:
            logs.event(message, **fields, shares=dict(served.weights) if served else {}, key=owner)

    def _check_task(self, name: str, manifest: Manifest) -> None:
        """Raises LoadFailed where a model is for another task than the versions that are served under its name."""
        served = self._registry.get(name)
        if served is not None and served.manifest.task != manifest.task:
            raise LoadFailed(f"{name}: the new version is for {manifest.task}, unlike the one that is served")

    def _failed(self, name: str, version: str, path: Path, error: LoadFailed) -> None:
        """Log and count a load that failed, and show it in the index. Any key may read that, so it has name and version
        in place of the path; the log has the path.

        A name that neither the folder nor the index is known to hold is left out: it is only what somebody sent.
        """
        known = self._registry.get(name) is not None or any(name == other for other, _ in self._other)
        shown = name if known else ""
        logs.problem("a version does not load", model=shown, version=version, reason=str(error))
        self._instruments.events.labels(shown, "failure").inc()
        if known:
            reason = str(error).replace(str(path), f"{name} {version}".rstrip())
            self._other[name, version] = State(name, version, "UNAVAILABLE", reason)

    def _retire(self, model: Model) -> None:
        """Free a model that answers no more, once the requests that use it are answered."""
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
        served = self._registry.get(model.name)
        if served is None or model.version not in served.versions:
            self._instruments.forget(model.name, model.version)
