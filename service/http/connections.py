"""Which connections of a server have to go when there are too many, or too much is not fetched from them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    """What is asked of a connection."""

    transport: asyncio.Transport


Some = TypeVar("Some", bound=Connection)


class Connections(Generic[Some]):
    """What the connections of one server share. Each tells what it does; nothing is closed here.

    idle: connections that wait for nothing, longest first. unread: connections whose answers are not fetched and fill
    the buffer, longest first. leaving: connections that were idle and had to go, and are not closed yet.
    """

    def __init__(self) -> None:
        self._idle: OrderedDict[Some, None] = OrderedDict()
        self._unread: OrderedDict[Some, None] = OrderedDict()
        self._leaving: set[Some] = set()

    def rests(self, one: Some) -> None:
        """It has no request."""
        if one not in self._leaving:
            self._idle[one] = None

    def works(self, one: Some) -> None:
        """It has a request."""
        self._idle.pop(one, None)

    def fills(self, one: Some) -> None:
        """Its client does not fetch its answers, and its buffer is full."""
        self._unread[one] = None

    def empties(self, one: Some) -> None:
        """Its client has fetched its answers."""
        self._unread.pop(one, None)

    def closed(self, one: Some) -> None:
        """It is there no more."""
        self.works(one)
        self.empties(one)
        self._leaving.discard(one)

    def surplus(self, count: int, most: int) -> list[Some]:
        """Those of `count` connections that have to go so that `most` are left: the ones that have been idle longest.
        The connection that has just come must be idle."""
        found: list[Some] = []
        while count - len(self._leaving) > most:
            longest, _ = self._idle.popitem(last=False)
            self._leaving.add(longest)
            found.append(longest)
        return found

    def unfetched(self, most: int) -> list[Some]:
        """Those that have to go so that at most `most` bytes wait to be fetched: the ones that were unread first. A
        single one is left alone: its answer may be that large."""
        found: list[Some] = []
        total = sum(one.transport.get_write_buffer_size() for one in self._unread)
        while total > most and len(self._unread) > 1:
            longest, _ = self._unread.popitem(last=False)
            total -= longest.transport.get_write_buffer_size()
            found.append(longest)
        return found
