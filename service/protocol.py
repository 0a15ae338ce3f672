"""HTTP/1.1 with bounds on what is not body, and on the time that a request may take to come."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_BAD = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_LAST_CALL_SECONDS = 0.5
# Of an offer to speak another protocol, such as h2c, which is declined by not seeing it: taken for
# accepted, the parser would read the body that follows as another request.
_OFFER = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself takes heads and trailers of any size, as slowly as a client likes,
    and keeps answers for as long as it does not fetch them."""

    max_head_bytes = 32 << 10
    head_seconds = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True  # or between two requests
        self._idle_bytes = 0  # since the last one of a body
        self._timer: asyncio.TimerHandle | None = None
        self._cycles: list[RequestResponseCycle] = []  # that may be unanswered, in order
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_clock()
        self._moves()
        for cycle in self._cycles:  # by itself only the request that came last hears of it
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops. Whoever has connected and asked nothing yet may have a request on its way."""
        asked: object = self.cycle
        if asked is None:
            self.loop.call_later(_LAST_CALL_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Count what is not body: heads, the frames of chunks, trailers."""
        self._idle_bytes += len(data)
        self._start_clock()
        if self._in_head and b"pgrade" in data.lower():
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _OFFER.sub(b"\r\nx-offer", head) + end + rest
        super().data_received(data)
        if self._idle_bytes > self.max_head_bytes:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._start_clock()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of a head; trailers are dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head ends; one that came in a single piece is measured here."""
        self._in_head = False
        self._stop_clock()
        self._start_clock()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.max_head_bytes:
            self._refuse(_TOO_LARGE)
        elif self.parser.should_upgrade():
            self._refuse(_BAD)
        else:
            super().on_headers_complete()
            self._cycles = [*(cycle for cycle in self._cycles if not cycle.response_complete), self.cycle]

    def on_body(self, body: bytes) -> None:
        """Of a request that was not refused."""
        self._idle_bytes = 0
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Of a request that was not refused."""
        self._stop_clock()
        self._in_head = True
        self._idle_bytes = 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Of a request that was refused before its body was read, the body is let go: the cycle that holds it is part
        of a reference cycle, which may wait long for a collection."""
        for cycle in self._cycles:
            if cycle.response_complete:
                cycle.body = bytearray()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Answers pile up that the client does not fetch."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.head_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It fetched them."""
        super().resume_writing()
        self._moves()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked. What was not fetched by now is dropped; closing would wait for it for ever."""
        self.transport.abort()

    def _moves(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _start_clock(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self._overdue)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        """A head, or the rest of a body that was answered without, does not come."""
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_clock()  # what is being answered, this request or the one before, has its own limit
        elif self._in_head:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, answer: bytes) -> None:
        self._stop_clock()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
