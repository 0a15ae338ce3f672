"""Which connections of a server have to go when there are too many, or too much is not fetched from them."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

_NETWORK = 64  # bits of an IPv6 address that say whose it is: a host chooses the others as it likes


def whose(address: str) -> str:
    """The client of an address: a network of IPv6, or a single address of IPv4, also where IPv6 maps it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a socket that has none
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _NETWORK), strict=False))


class Connection(Protocol):
    """What is asked of a connection."""

    transport: asyncio.Transport


Some = TypeVar("Some", bound=Connection)


class Connections(Generic[Some]):
    """What the connections of one server share. Each tells what it does; nothing is closed here.

    idle: connections that wait for nothing, longest first. unread: connections whose answers are not fetched and fill
    the buffer, longest first. held: by client, the connections that it alone keeps busy, longest first: the rest of a
    body has to come, or answers have to be fetched. leaving: connections that had to go, and are not closed yet. ahead:
    bytes of requests that wait for the answers before them.
    """

    def __init__(self) -> None:
        self.ahead = 0
        self._idle: OrderedDict[Some, None] = OrderedDict()
        self._unread: OrderedDict[Some, None] = OrderedDict()
        self._held: dict[Hashable, OrderedDict[Some, None]] = {}
        self._holders: dict[Some, Hashable] = {}
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

    def holds(self, one: Some, client: Hashable) -> None:
        """Its client keeps it busy. client: whose connections count together."""
        if one in self._leaving or self._holders.get(one) == client:
            return
        self.frees(one)
        self._holders[one] = client
        self._held.setdefault(client, OrderedDict())[one] = None

    def frees(self, one: Some) -> None:
        """Its client does not keep it busy: it is idle, or a whole request is being answered."""
        client = self._holders.pop(one, None)
        if client is not None:
            del self._held[client][one]
            if not self._held[client]:
                del self._held[client]

    def closed(self, one: Some) -> None:
        """It is there no more."""
        self.works(one)
        self.empties(one)
        self.frees(one)
        self._leaving.discard(one)

    def surplus(self, count: int, most: int) -> list[Some]:
        """Those of `count` connections that have to go so that `most` are left. The connection that has just come must
        be idle. A whole request that is being answered is left alone."""
        found: list[Some] = []
        while count - len(self._leaving) > most:
            one = self._next(most)
            self.works(one)
            self.frees(one)
            self._leaving.add(one)
            found.append(one)
        return found

    def _next(self, most: int) -> Some:
        """Who goes first: the connection that has been idle longest. But it is one of the client that holds most where
        that one holds over half of all, or where only the new one is idle. The new one goes if nobody holds several.

        Without the half, a client that comes again and again has others closed before their requests are read.
        """
        held = max(self._held.values(), key=len, default=None)
        if held is not None and len(held) > (1 if len(self._idle) <= 1 else max(1, most // 2)):
            return next(iter(held))
        return next(iter(self._idle))

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
