"""One request and its answer on a connection of uvicorn: who waits for it, and how it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod, ref

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.http.client import EXTENSION
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
    """See `Client`. owned: told of the owner; weak, so that a connection that is gone is freed at once. size: bytes of
    memory that the head takes, about."""

    __slots__ = ("_cycle", "_leave", "_owned", "followed", "received", "size")

    def __init__(self, owned: WeakMethod[Callable[[str], None]], size: int) -> None:
        self._owned = owned
        self.size = size
        self.received = clock()
        self.followed = False
        self._cycle: ref[RequestResponseCycle] | None = None
        self._leave: Callable[[], None] | None = None

    @property
    def cycle(self) -> RequestResponseCycle | None:
        """uvicorn's name for a request and its answer; None until it begins. It holds this object, so it is held by
        whom it concerns and not from here: it is freed at once when it is over."""
        return self._cycle() if self._cycle is not None else None

    @cycle.setter
    def cycle(self, cycle: RequestResponseCycle) -> None:
        self._cycle = ref(cycle)

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        cycle = self.cycle
        return cycle is None or cycle.disconnected

    @property
    def waits(self) -> bool:
        """Whether the client sends no body before it is told to, and was not told."""
        cycle = self.cycle
        return cycle is not None and cycle.waiting_for_100_continue and cycle.more_body and not cycle.body

    @property
    def behind(self) -> bool:
        """Whether the client has not fetched its answers, and the buffer is full."""
        cycle = self.cycle
        return cycle is not None and cycle.flow.write_paused

    async def fetched(self) -> None:
        """Wait until the client has fetched its answers, or has left."""
        cycle = self.cycle
        if cycle is not None:
            await cycle.flow.drain()

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
        cycle = self.cycle
        if cycle is not None:
            cycle.flow.resume_reading()
        return self._unwatch

    def _unwatch(self) -> None:
        self._leave = None

    def leave(self) -> None:
        """The client leaves."""
        if self._leave is not None:
            self._leave()


def forget(cycle: RequestResponseCycle) -> None:
    """Let go of the head and the body of a request that was answered, or that never begins, and of its connection."""
    cycle.scope = {}  # type: ignore[typeddict-item]
    cycle.body = bytearray()
    cycle.on_response = _nothing


def waiting_bytes(cycle: RequestResponseCycle) -> int:
    """Bytes of memory of a request that has not begun, about."""
    told: Any = cycle.scope["extensions"][EXTENSION]
    size: int = told.size
    return size + len(cycle.body)


def _nothing() -> None:
    pass
