"""HTTP/1.1 with a bound on the size of a request's head and on the time it may take to come."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_LAST_CALL_SECONDS = 0.5


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself takes heads of any size, sent as slowly as a client likes."""

    max_head_bytes = 32 << 10
    head_seconds = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops. Whoever has connected and asked nothing yet may have a request on its way."""
        asked: object = self.cycle
        if asked is None:
            self.loop.call_later(_LAST_CALL_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.max_head_bytes:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        if not self._in_head:
            self._head_bytes = 0
            self._await_head()

    def on_headers_complete(self) -> None:
        """A head ends; one that came in a single piece is measured here."""
        self._in_head = False
        self._stop_clock()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.max_head_bytes:
            self._refuse(_TOO_LARGE)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Of a request that was not refused."""
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Of a request that was not refused."""
        if self.cycle is not None:
            super().on_message_complete()

    def _await_head(self) -> None:
        self._in_head = True
        self._timer = self.loop.call_later(self.head_seconds, self._refuse, _TOO_SLOW)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, answer: bytes) -> None:
        self._stop_clock()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
