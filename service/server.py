"""The server of one process: where it listens, what it says of that, and how it stops."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from service.observe import logs
from service.settings import SettingsError


class Server(uvicorn.Server):
    """Leaves signals to who runs it, who drains before it stops, and ends with status 0.

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
        """Capture no signals."""
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
