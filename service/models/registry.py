"""The models that answer, by name and version, and their shares of the traffic."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from pgb_core.artifact import Manifest
from service.errors import InvalidInput, Overloaded, ServiceError, Unavailable, UnknownModel, WrongTask
from service.models.model import Model

Suits = Callable[[Manifest], bool]
_NO_VERSION = "that version of the model is not served; GET /v1/models lists them"


@dataclass
class Served:
    """The versions of one name, all for one task. weights: share of unversioned traffic, summing to 1."""

    versions: dict[str, Model] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    _credit: dict[str, float] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """That of the version that was loaded first."""
        return next(iter(self.versions.values())).manifest

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
        shares = {version: weight / total for version, weight in weights.items()}
        self.weights = {version: share for version, share in shares.items() if share > 0}  # it may be rounded to 0
        self._credit = {}


class Registry:
    """The models of a process that answer. It neither loads nor frees any: `Repository` does.

    Names are in the order in which each was loaded for the first time. One that is unloaded keeps its place, so that it
    has the same requests again once it is back.

    started: whether all models that were named at start are here. Until then, a model that is missing may be loading.
    """

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}
        self._places: dict[str, int] = {}
        self.started = False

    @property
    def ready(self) -> bool:
        """Whether every model has made a forward pass and none fails."""
        return self.started and all(model.healthy for model in self.models)

    @property
    def models(self) -> list[Model]:
        """Every version that answers, by the order of the names; those of one name in the order loaded."""
        return [model for served in list(self._served.values()) for model in list(served.versions.values())]

    def figures(self) -> list[tuple[str, str, float, float, Mapping[str, str]]]:
        """Name, version, waiting inputs, waiting tokens and facts of every version: see `Instruments.watch`."""
        return [(m.name, m.version, m.batcher.waiting_inputs, m.batcher.waiting_tokens, m.facts) for m in self.models]

    def get(self, name: str) -> Served | None:
        """All versions of a name, if there are any."""
        return self._served.get(name)

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
        """The first model of a task: it answers requests that name none. suits: the first suitable one is preferred.

        While models are being loaded, one that does not suit is no default: a suitable one may follow.
        """
        manifests = {name: served.manifest for name, served in self._served.items()}
        named = [name for name, manifest in manifests.items() if manifest.task == task]
        if suits is not None:
            suitable = [name for name in named if suits(manifests[name])]
            named = suitable or (named if self.started else [])
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

    def split(self, name: str, weights: Mapping[str, float]) -> None:
        """Share the traffic of a name among its versions. Raises UnknownModel or InvalidInput."""
        served = self.served(name)
        if not set(weights) <= set(served.versions):
            raise UnknownModel(_NO_VERSION)
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise InvalidInput("weights must not be negative, and one of them must be above 0")
        served.split(weights)

    def put(self, model: Model, share: float) -> list[Model]:
        """Give a model a share of the traffic of its name. Returns the versions that answer no more: one of the same
        number, and all others where the share is the whole."""
        served = self._served.get(model.name) or self._added(model.name)
        same = served.versions.get(model.version)
        replaced = [] if same is None else [same]
        served.versions[model.version] = model
        others = {version: weight for version, weight in served.weights.items() if version != model.version}
        if share >= 1:
            replaced += [other for version, other in served.versions.items() if version != model.version]
            served.versions = {model.version: model}
            served.split({model.version: 1.0})
        elif not others:  # versions without traffic stay, so that one can go back to them
            served.split({model.version: 1.0})
        else:
            left = sum(others.values())
            served.split({model.version: share, **{v: w / left * (1 - share) for v, w in others.items()}})
        return replaced

    def take(self, name: str, version: str) -> Model:
        """Take a version out; the others of its name share its traffic."""
        served = self._served[name]
        model = served.versions.pop(version)
        left = {other: weight for other, weight in served.weights.items() if other != version}
        if not served.versions:
            del self._served[name]
        else:
            served.split(left or dict.fromkeys(served.versions, 1.0))
        return model

    def _added(self, name: str) -> Served:
        """A name without versions, in its place among the others."""
        self._places.setdefault(name, len(self._places))
        every = {**self._served, name: Served()}
        self._served = {one: every[one] for one in sorted(every, key=self._places.__getitem__)}
        return self._served[name]

    def _absent(self, said: str) -> ServiceError:
        return UnknownModel(said) if self.started else Unavailable("the models are being loaded")
