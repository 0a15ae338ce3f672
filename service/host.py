"""Tunes a serving process, whether `python -m service` or Ray started it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys

from fastapi import FastAPI

from service.app import create_app
from service.http.protocol import BoundedProtocol
from service.observe import logs
from service.observe.instruments import Instruments
from service.settings import Settings

# A batch that has run waits for the interpreter at most this long behind a request being parsed.
_SWITCH_SECONDS = 0.0005
# New objects between two collections: what waits in the queue would be looked at many times a second.
_COLLECT_AFTER = 50_000
_OWN_DESCRIPTORS = 64


def application(settings: Settings, background: bool = False) -> FastAPI:
    """Call `create_app` in a process that only serves, and set up the log by the settings."""
    logs.set_up(settings.log_level)
    # Texts are tokenised on our own threads; the library's pool would take cores from the runtime.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(settings, background)
    gc.collect()
    gc.freeze()  # a hundred thousand objects that stay: no collection need look at them
    gc.set_threshold(_COLLECT_AFTER)
    return app


def protocol(settings: Settings, counted: Instruments | None = None) -> type[BoundedProtocol]:
    """HTTP within the limits of the settings, and of this process. counted: where refused connections are counted."""
    most = _descriptors_for(settings.max_connections)
    if most < settings.max_connections:
        logs.warning(
            "max_connections is more than the files that this process may open; raise its limit of open files "
            "(ulimit -n, LimitNOFILE), or lower max_connections",
            max_connections=settings.max_connections,
            connections=most,
        )

    class Limited(BoundedProtocol):
        max_head_bytes = settings.max_header_bytes
        head_seconds = settings.max_body_seconds
        max_unsent_bytes = settings.max_pending_bytes
        instruments = counted
        max_connections = most

    return Limited


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """The fastest event loop that is available."""
    try:
        import uvloop
    except ImportError:  # not made for every platform
        return None
    return uvloop.Loop


def _descriptors_for(connections: int) -> int:
    """The number of connections that this process may open beside its own files, at most `connections`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OWN_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - _OWN_DESCRIPTORS))
