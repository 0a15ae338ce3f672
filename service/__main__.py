"""`python -P -m service ARTIFACT …`: one server process, from start to stop.

-P keeps the current directory out of the module path, so that modules in it are not run.
"""

from __future__ import annotations

from service import stops

if __name__ == "__main__":  # what is imported now takes seconds
    stops.leave_at_once()

import asyncio
import ipaddress
import os
import sys
import threading
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI

from pgb_core.machine import usable_cores
from service import host
from service.errors import ServiceError
from service.keys import KeysError
from service.models.lifecycle import Lifecycle
from service.observe import logs, tracing
from service.server import Server
from service.settings import Settings, SettingsError, read_settings

# Added to stop_seconds: after that the process ends, whatever still runs.
_LAST_SECONDS = 5.0
_LOG_SECONDS = 1.0
_MAY_STAY = ("pgb-load", "pgb-batch", "pgb-tokenize", tracing.THREAD)


async def serve(settings: Settings) -> int:
    """Serve until a signal comes. Then readiness is 503, serving goes on for drain_seconds, and open requests end."""
    app = host.application(settings, background=True)
    _warn_of_strangers(settings)
    _warn_of_threads(settings)
    lifecycle: Lifecycle = app.state.lifecycle
    server = Server(configured(app, settings))
    server.pages = settings.ui
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stops.signals():
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(server.serve())
    loaded = asyncio.create_task(lifecycle.loaded.wait())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, loaded, stop), return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set() and not lifecycle.loaded.is_set() and not app.state.engine.in_flight:
        _exit(0)  # nobody waits for an answer, and fetching or reading a model can go on for minutes
    if lifecycle.failure is None and not stopping.is_set() and not serving.done():
        await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set() and lifecycle.failure is None:
        lifecycle.drain()  # also where a model fails: the others are still asked
        await asyncio.wait((serving,), timeout=settings.drain_seconds)
    lifecycle.draining = True
    _end_within(settings.stop_seconds + _LAST_SECONDS)
    server.should_exit = True
    await serving
    loaded.cancel()
    stop.cancel()
    if lifecycle.failure is not None:
        print(f"pgb serve: {lifecycle.failure}", file=sys.stderr)
        return 1
    return 0


def configured(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """What the settings say to uvicorn."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=host.protocol(settings, app.state.instruments),
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.stop_seconds,  # type: ignore[arg-type]  # it only waits so long
    )


def _warn_of_strangers(settings: Settings) -> None:
    """Log a warning if other machines can reach the service and no key is asked for."""
    if settings.keys_file is None and not _loopback(settings.host):
        logs.warning(
            "the service listens beyond this machine and asks for no key: whoever reaches the port may use the models; "
            "set keys_file, or host 127.0.0.1",
            host=settings.host,
        )


def _warn_of_threads(settings: Settings) -> None:
    """Log a warning if a runtime gets more threads than there are cores for them."""
    cores = usable_cores()
    if settings.threads > cores:
        logs.warning(
            "threads is more than the cores that this process may use, so that threads wait for each other; lower it, "
            "or leave it out",
            threads=settings.threads,
            cores=cores,
        )


def _loopback(given: str) -> bool:
    """Whether a host is this machine alone. A name that is not localhost may be any machine's."""
    try:
        return ipaddress.ip_address(given.partition("%")[0]).is_loopback
    except ValueError:
        return given.lower() == "localhost"


def _end_within(seconds: float) -> None:
    """End the process after so many seconds, even if a model or anything else does not return."""

    def end() -> None:
        logs.problem("something did not end; the process ends without it", seconds=seconds)
        _exit(1)

    last = threading.Timer(seconds, end)
    last.daemon = True
    last.start()


def _exit(code: int) -> None:
    logs.drain(_LOG_SECONDS)
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal comes."""
    code = _main(argv)
    logs.drain(_LOG_SECONDS)
    if any(thread.name in _MAY_STAY and thread.is_alive() for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(code)  # a normal exit would wait for a runtime that does not end, or free it while it runs
    return code


def _main(argv: Sequence[str] | None) -> int:
    try:
        settings = read_settings(sys.argv[1:] if argv is None else argv)
        if not settings.artifacts and settings.models_dir is None:
            raise SettingsError("no model: name the directory of an artifact, or a folder of them with --models-dir")
        with asyncio.Runner(loop_factory=host.loop_factory()) as runner:
            return runner.run(serve(settings))
    except (SettingsError, KeysError, ServiceError) as error:
        logs.drain(_LOG_SECONDS)
        print(f"pgb serve: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
