"""Tries models that fail, so that they are ready again once they answer."""

from __future__ import annotations

import asyncio

from service.errors import ServiceError
from service.models.registry import Registry
from service.observe import logs

_PROBE_SECONDS = 1.0


async def watch(registry: Registry, longest: float) -> None:
    """Try broken models, so that they count as ready again once they answer. Log those whose batch does not end, which
    cannot be tried. It ends when it is cancelled.

    longest: seconds that a request may take.
    """
    told: set[tuple[str, str]] = set()
    while True:
        await asyncio.sleep(_PROBE_SECONDS)
        stuck = {(model.name, model.version) for model in registry.models if model.stuck}
        for name, version in stuck - told:
            logs.problem("a batch does not end; its model is not ready", model=name, version=version, seconds=longest)
        told = stuck
        for model in registry.models:
            if not model.healthy and not model.stuck:
                try:
                    with model.in_use():
                        await model.probe()
                except ServiceError:
                    continue
