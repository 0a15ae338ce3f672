"""One request and its answer on a connection of uvicorn: who waits for it, and how it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakMethod

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.observe.metrics import clock

_HEAD = b"HTTP/1.1 "
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Together:
    """The part of a transport that an answer uses. It sends a head and what follows as one write, because each
    write is a system call and wakes the client.

    end: called when no answer follows; weak, so that a connection that is gone is freed at once.
    """

    __slots__ = ("_end", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport, end: WeakMethod[Callable[[], None]]) -> None:
        self._transport = transport
        self._end = end
        self._head = b""

    def write(self, data: bytes) -> None:
        """Keep a head, and send it together with the next data."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data) if data else (head,))
        elif data.startswith(_HEAD) and data != CONTINUE:
            self._head = data
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that nothing follows, such as the answer to HEAD."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what is left, and end the connection."""
        self.flush()
        end = self._end()
        if end is not None:
            end()

    def is_closing(self) -> bool:
        """See `asyncio.Transport`."""
        return self._transport.is_closing()


class CycleClient:
    """See `Client`. cycle: uvicorn's name for a request and its answer; None until it begins. owned: told of the owner;
    weak, so that a connection that is gone is freed at once."""

    __slots__ = ("_leave", "_owned", "cycle", "followed", "received")

    def __init__(self, owned: WeakMethod[Callable[[str], None]]) -> None:
        self._owned = owned
        self.received = clock()
        self.cycle: RequestResponseCycle | None = None
        self.followed = False
        self._leave: Callable[[], None] | None = None

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        return self.cycle is None or self.cycle.disconnected

    @property
    def waits(self) -> bool:
        """Whether the client sends no body before it is told to, and was not told."""
        cycle = self.cycle
        return cycle is not None and cycle.waiting_for_100_continue and cycle.more_body and not cycle.body

    @property
    def behind(self) -> bool:
        """Whether the client has not fetched its answers, and the buffer is full."""
        return self.cycle is not None and self.cycle.flow.write_paused

    async def fetched(self) -> None:
        """Wait until the client has fetched its answers, or has left."""
        if self.cycle is not None:
            await self.cycle.flow.drain()

    def whole(self) -> bytes | None:
        """The body as the next ASGI message would have it."""
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        body = bytes(cycle.body)
        cycle.body = bytearray()
        cycle.message_event.clear()
        return body

    def owned(self, owner: str) -> None:
        """The request has a valid key of this owner."""
        tell = self._owned()
        if tell is not None:
            tell(owner)

    def watch(self, leave: Callable[[], None]) -> Callable[[], object]:
        """Go on reading the connection, so that its end is seen."""
        self._leave = leave
        if self.cycle is not None:
            self.cycle.flow.resume_reading()
        return self._unwatch

    def _unwatch(self) -> None:
        self._leave = None

    def leave(self) -> None:
        """The client leaves."""
        if self._leave is not None:
            self._leave()
