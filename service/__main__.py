"""`python -P -m service ARTIFACT …`: one server process, from start to stop.

-P keeps the current directory out of the module path, so that modules in it are not run.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn

from service import host
from service.errors import ServiceError
from service.keys import KeysError
from service.models.lifecycle import Lifecycle
from service.observe import logs, tracing
from service.settings import Settings, SettingsError, read_settings

# Added to stop_seconds: after that the process ends, whatever still runs.
_LAST_SECONDS = 5.0
_LOG_SECONDS = 1.0
_MAY_STAY = ("pgb-load", "pgb-batch", "pgb-tokenize", tracing.THREAD)


class Server(uvicorn.Server):
    """Leaves signals to `serve`, which drains before it stops, and ends with status 0.

    pages: whether /ui and /docs are served.
    """

    pages = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start. Raises SettingsError where uvicorn would end the process from inside a task."""
        try:
            if sockets is None and _is_every(self.config.host):
                sockets = [_at_every_address(self.config.port)]
            await super().startup(sockets)
        except SystemExit as stop:
            raise self._cannot_listen(stop.__context__) from None
        except OSError as error:
            raise self._cannot_listen(error) from None
        self._say_where()

    def _cannot_listen(self, error: BaseException | None) -> SettingsError:
        reason = str(getattr(error, "strerror", None) or "see the log").rpartition(": ")[2]
        reason = reason[:1].lower() + reason[1:]  # the system writes it as a sentence, and event loops do not
        return SettingsError(f"cannot listen on {_in_url(self.config.host)}:{self.config.port}: {reason}")

    def _say_where(self) -> None:
        """Write the addresses of the service to the log, and to a terminal if there is one."""
        port = self.servers[0].sockets[0].getsockname()[1]
        given = self.config.host
        named = "localhost" if given == "0.0.0.0" or _is_every(given) else _in_url(given)  # noqa: S104
        address = f"http://{named}:{port}"
        pages = {"page": f"{address}/ui/", "documentation": f"{address}/docs"} if self.pages else {}
        logs.event("listening", host=given, port=port, address=address, **pages)
        if sys.stdout is not None and sys.stdout.isatty():
            more = "".join(f"\n  {name:14} {where}" for name, where in pages.items())
            with suppress(OSError):  # nobody reads it
                print(f"pgb serve: listening on {address}{more}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop. Whose connection the kernel has taken, and nobody accepted yet, is served like those before."""
        loop = asyncio.get_running_loop()
        listeners = [one for server in self.servers for one in server.sockets]
        taken = [one for listener in listeners for one in _waiting(listener.fileno(), self.config.backlog)]
        for server in self.servers:
            server.close()  # at once, so that no other one comes between
        for one in taken:
            with suppress(OSError):  # this client has left
                await loop.connect_accepted_socket(self._protocol, one)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """That of a new connection, as uvicorn makes it."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals; `serve` handles them."""
        yield


def _is_every(host: str) -> bool:
    """Whether an address is that of IPv6 which means all: `::`, however it is written."""
    with suppress(ValueError):  # a name
        return ipaddress.ip_address(host) == ipaddress.IPv6Address("::")
    return False


def _in_url(host: str) -> str:
    """A name or an address as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _at_every_address(port: int) -> socket.socket:
    """A socket at a port of every address of this machine. Raises OSError.

    Event loops give one at `::` the addresses of IPv6 alone.
    """
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
    except OSError:
        listener.close()
        raise
    return listener


def _waiting(listener: int, most: int) -> Iterator[socket.socket]:
    """Accept the connections that wait at a listening socket, and wait for no other.

    listener: its file number. most: connections that can wait there; those who come after them are too late.
    """
    with socket.socket(fileno=os.dup(listener)) as again:
        again.setblocking(False)
        for _ in range(most):
            try:
                one, _address = again.accept()
            except ConnectionAbortedError:  # this client has left
                continue
            except OSError:  # none is left, or no room for one
                return
            one.setblocking(False)
            yield one


async def serve(settings: Settings) -> int:
    """Serve until a signal comes. Then readiness is 503, serving goes on for drain_seconds, and open requests end."""
    app = host.application(settings, background=True)
    _warn_of_strangers(settings)
    lifecycle: Lifecycle = app.state.lifecycle
    server = Server(
        uvicorn.Config(
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
            timeout_graceful_shutdown=max(1, round(settings.stop_seconds)),
        )
    )
    server.pages = settings.ui
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(server.serve())
    loaded = asyncio.create_task(lifecycle.loaded.wait())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, loaded, stop), return_when=asyncio.FIRST_COMPLETED)
    if lifecycle.failure is None and not stopping.is_set() and not serving.done():
        await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set() and lifecycle.ready:
        lifecycle.drain()
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


def _warn_of_strangers(settings: Settings) -> None:
    """Log a warning if other machines can reach the service and no key is asked for."""
    if settings.keys_file is None and not _loopback(settings.host):
        logs.warning(
            "the service listens beyond this machine and asks for no key: whoever reaches the port may use the models; "
            "set keys_file, or host 127.0.0.1",
            host=settings.host,
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
