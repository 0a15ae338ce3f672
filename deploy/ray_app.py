"""The service as a Ray Serve application: the same factory, hosted by replicas on the nodes of a cluster.

    PGB_MODELS_DIR=/models serve run deploy.ray_app:build replicas=2 threads=2

Settings come from the environment in which this is read, and then from the arguments; all but host and port,
which are Ray's. Every node needs the artifacts, and the file that `keys_file` names, under the same path. Ray drains a
replica before it stops it, and sends nobody there meanwhile, so `drain_seconds` says nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from service import host
from service.settings import Settings, SettingsError, read_settings


def read_arguments(arguments: Mapping[str, Any]) -> tuple[int, Settings]:
    """The number of replicas, and the settings, of what a command line or a YAML file gives. Raises SettingsError."""
    given = {name: _written(name, value) for name, value in arguments.items()}
    replicas = given.pop("replicas", "1")
    if not replicas.isdecimal() or int(replicas) < 1:
        raise SettingsError(f"replicas: {replicas} is no number of replicas; give a whole number above 0")
    artifacts = [path.strip() for path in given.pop("artifacts").split(",")] if "artifacts" in given else []
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return int(replicas), read_settings([*artifacts, *flags])


def _written(name: str, value: object) -> str:
    """A value as a flag writes it: a list as a,b,c. Raises SettingsError for what no flag can say."""
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, str | int | float) for part in parts):
        kinds = " and ".join(sorted({type(part).__name__ for part in parts}))
        raise SettingsError(f"{name}: of type {kinds}; give text, a number, true or false, or a list of them")
    return ",".join(map(str, parts))


def build(arguments: dict[str, Any]) -> Application:
    """The application for `serve run` or `serve.run`.

    arguments: settings by name, and `replicas`, which is 1 unless given. A replica asks Ray for as many cores as
    its runtime has threads, and none shares its node with another as long as there are nodes enough. Raises
    SettingsError.
    """
    replicas, settings = read_arguments(arguments)
    threads = settings.threads or 1
    values = settings.model_dump() | {"threads": threads}

    def app() -> FastAPI:
        return host.application(Settings(**values))

    class Served:
        """One replica. `app` is what `ingress` adds."""

        app: FastAPI

        def check_health(self) -> None:
            """Raises Unavailable when a model does not answer; Ray then replaces the replica."""
            self.app.state.lifecycle.check()

    deployment = serve.deployment(
        name="pgb-serve",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": threads},
        # Who waits too long is refused by the service, with its own estimate in Retry-After.
        max_ongoing_requests=10_000,
        graceful_shutdown_timeout_s=settings.stop_seconds,
        health_check_period_s=2,
        health_check_timeout_s=10,
    )
    return deployment(serve.ingress(app)(Served)).bind()
