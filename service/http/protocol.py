"""HTTP/1.1 with limits on everything that is not body, on waiting requests, and on the time of each step.

A connection that passes a limit, or sends what is not HTTP, gets one last answer and is closed. Requests that arrived
whole before on the same connection are answered first.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.body import declared
from service.http.client import EXTENSION
from service.http.connections import Connections, whose
from service.http.exchange import CycleClient, Together, forget, waiting_bytes
from service.observe import logs
from service.observe.instruments import Instruments

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_BAD = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
# The reason of each, as `pgb_connections_refused_total` names it.
_REASONS = {_TOO_LARGE: "head", _TOO_SLOW: "slow", _BAD: "malformed", _TOO_MANY: "pipelined"}
_LAST_CALL_SECONDS = 0.5
_MOST_HEADERS = 128
_MOST_WAITING = 32  # requests of one connection
_FEW_WAITING = 8  # with more, nothing is read until one is answered
_MOST_DROPPED = 4 << 20
_BLANKS = b" \t"
_PIECE = 32  # bytes that each piece counts for, however short it is
_REQUEST, _HEADER = 4096, 128  # bytes of memory that a request and each of its headers take beside what was sent
_ONCE = frozenset((b"host", b"transfer-encoding", b"content-encoding"))  # more than one of them is an error
_HEAD_ENDS = b"\r\n\r\n"
# The header of an offer of another protocol, such as h2c. It is hidden from the parser, which would otherwise take
# the offer as accepted and read the body that follows as another request. Behind an empty line it is no header.
_OFFER, _HIDDEN = re.compile(rb"(?<!\r\n)\r\nupgrade", re.IGNORECASE), b"\r\nx-offer"
_OVERLAP = len(_HIDDEN) - 1


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. By itself, uvicorn accepts heads and trailers of any size, however slowly they
    come, and keeps answers for as long as the client does not fetch them."""

    max_head_bytes = 32 << 10
    head_seconds = 30.0
    max_connections = 1_000
    max_unsent_bytes = 256 << 20
    instruments: Instruments | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True  # or between two requests
        self._frames = 0  # bytes of this request that are not body, plus _PIECE for each piece
        self._body_bytes = 0
        self._length: int | None = 0  # of the body, as the head says; None for chunks
        self._blanks = 0  # of this head, around the values of its headers
        self._tail = b""  # the last bytes that came, but for those up to the end of a head
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None  # an instant of the loop; None while the clock stands
        self._cycles: deque[RequestResponseCycle] = deque()  # that may be unanswered, in order
        self._stalled: asyncio.TimerHandle | None = None
        self._shared = _SHARED.setdefault(self.server_state, Connections())
        self._whose: tuple[str, str] = ("", "")  # the owner of a key or an address, and which of both
        self._held = False  # see `Connections`
        self._ahead = 0  # bytes of requests that wait for the answers before them
        self._hear: WeakMethod[Callable[[str], None]] = WeakMethod(self._owned)
        self._dropped = 0
        self._last_word: bytes | None = None  # once it is set, nothing more is read as requests
        self._ends = False  # once the rest of an answered request's body has come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock. If there are too many connections now, close one."""
        super().connection_made(transport)
        self._whose = ("address", whose(self.client[0]) if self.client else "")
        self._together = Together(transport, WeakMethod(self._end))
        self._start_clock()
        self._shared.rests(self)
        for one in self._shared.surplus(len(self.connections), self.max_connections):
            one._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_clock()
        if self._timer is not None:
            self._timer.cancel()
        self._unset_keepalive_if_required()  # uvicorn leaves that of a client which resets the connection
        self._moves()
        self._shared.closed(self)
        for cycle in self._cycles:  # by itself only the request that came last hears of it
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
                left: Any = cycle.scope["extensions"][EXTENSION]
                left.leave()
        super().connection_lost(exc)
        for cycle, _ in self.pipeline:
            forget(cycle)
        self.pipeline.clear()
        self._cycles.clear()
        self._count_ahead()

    def shutdown(self) -> None:
        """The server stops. A client that waits for no answer may have a request on its way."""
        last: RequestResponseCycle | None = self.cycle
        if last is None or last.response_complete:
            self.loop.call_later(_LAST_CALL_SECONDS, self._shut)
        else:
            self._shut()

    def _shut(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._hurry()

    def data_received(self, data: bytes) -> None:
        """Count what is not body: heads, the frames of chunks, trailers, and pieces."""
        if self._last_word is not None:  # who still sends is read, so that the answers arrive, but not for ever
            self._dropped += len(data)
            if self._dropped > _MOST_DROPPED:
                self.transport.pause_reading()
            return
        self._frames += len(data) + _PIECE
        self._start_clock()
        tail, self._tail = self._tail, (self._tail + data[-_OVERLAP:])[-_OVERLAP:].rpartition(_HEAD_ENDS)[2]
        self._unset_keepalive_if_required()
        try:
            self._feed(tail + data, len(tail))
        except HttpParserError:  # it is not HTTP, or a refusal stopped the parser
            self._refuse(_BAD)
        if self._frames > self.max_head_bytes + self._body_bytes:
            self._refuse(_TOO_LARGE)
        if not self._in_head:
            self._hold()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._blanks = 0
        self._start_clock()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header of a head; trailers are dropped. Blanks around a value are no part of it (RFC 9110, 5.5), and
        the parser leaves those behind it.
        """
        if self._in_head:
            plain = value.strip(_BLANKS)
            self._blanks += len(value) - len(plain)
            super().on_header(name, plain)

    def on_headers_complete(self) -> None:
        """A head ends. A head that came in a single piece is measured here."""
        self._in_head = False
        self._length = declared(dict(self.headers))
        self._stop_clock()
        self._start_clock()
        size = len(self.url) + self._blanks
        old = self.parser.get_http_version() == "1.0"
        once: list[bytes] = []
        coded = False
        for name, value in self.headers:
            size += len(name) + len(value)
            if name in _ONCE:
                once.append(name)
                coded |= name == b"transfer-encoding" and value.lower() != b"chunked"
        wrong = coded or len(set(once)) < len(once) or not (old or b"host" in once)
        while self._cycles and self._cycles[0].response_complete:
            self._cycles.popleft()
        # A path is held twice, and once escapes are undone a character may take 4 bytes.
        taken = size + len(self.url) * (4 if b"%" in self.url else 1) + _HEADER * len(self.headers) + _REQUEST
        if size > self.max_head_bytes or len(self.headers) > _MOST_HEADERS:
            self._stop(_TOO_LARGE)
        elif wrong or self.parser.should_upgrade():
            self._stop(_BAD)
        elif len(self._cycles) >= _MOST_WAITING or (self._cycles and self._lacks(taken)):
            self._stop(_TOO_MANY)
        else:
            client = CycleClient(self._hear, taken)
            told: dict[str, Any] = {EXTENSION: client}
            self.scope["extensions"] = told
            if self._cycles:
                before: Any = self._cycles[-1].scope["extensions"][EXTENSION]
                before.followed = True
            if old:  # such a client does not know what 100 means
                self.expect_100_continue = False
            super().on_headers_complete()
            # uvicorn stops reading where another request is unanswered, which would not hear that its client left.
            if len(self._cycles) < _FEW_WAITING:
                self.flow.resume_reading()
            client.cycle = self.cycle
            self.cycle.transport = self._together  # type: ignore[assignment]
            self._cycles.append(self.cycle)
            self._shared.works(self)
            if self.pipeline:
                self._count_ahead()
            self.url, self.headers, self.scope = b"", [], {}  # type: ignore[typeddict-item]  # the cycle has them

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, unless the request was refused."""
        self._frames -= len(body)
        self._body_bytes += len(body)
        if not self.transport.is_closing():
            super().on_body(body)
            if self.pipeline:
                self._count_ahead()
                if self._lacks(0):
                    self._refuse(_TOO_MANY)
                    raise _RefusedError

    def on_message_complete(self) -> None:
        """End a request, unless it was refused."""
        self._stop_clock()
        self._in_head = True
        self._frames = self._body_bytes = 0
        if not self.transport.is_closing():
            super().on_message_complete()
            if self._held:
                self._hold()
            if self._ends:
                self._last_word = b""
                self._speak()
                raise _RefusedError
            answered = self.cycle.response_complete and not self.pipeline
            # Its body came after its answer, and stopped the clock.
            if answered and self.timeout_keep_alive_task is None:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def on_response_complete(self) -> None:
        """Free what was answered. The connection would keep it until the next request, with the body if that was not
        read."""
        self._together.flush()
        for cycle in self._cycles:
            if not cycle.response_complete:
                break
            forget(cycle)
        while len(self._cycles) > 1 and self._cycles[0].response_complete:
            self._cycles.popleft()
        super().on_response_complete()
        self._count_ahead()
        if self._cycles[-1].response_complete:
            self._shared.rests(self)
        if self._held or not self._in_head:
            self._hold()
        if self._last_word is not None:
            self._speak()
        if self.transport.is_closing():
            self._hurry()

    def _end(self) -> None:
        """No answer follows: close once all is sent. A client that still sends the body of the answered request would
        find the connection reset, and lose the answer. It is told that nothing follows, and the body is read."""
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self.transport.write_eof()
            self._ends = True
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not fetch its answers, and the buffer is full."""
        super().pause_writing()
        self._hurry()
        self._shared.fills(self)
        self._hold()
        for longest in self._shared.unfetched(self.max_unsent_bytes):
            longest._drop("unread")

    def resume_writing(self) -> None:
        """The client has fetched its answers."""
        super().resume_writing()
        self._shared.empties(self)
        self._hold()
        if not self.transport.is_closing():
            self._moves()

    def timeout_keep_alive_handler(self) -> None:
        """The client asked nothing more. It may still fetch what was written, but not for ever."""
        super().timeout_keep_alive_handler()
        self._hurry()

    def _feed(self, seen: bytes, fed: int) -> None:
        """Hand what came to the parser, with the offers in its heads hidden. fed: bytes that the parser has already: an
        offer, or the end of what is before it, may have begun in the piece before.

        Before each offer the parser is halted behind the last head, and behind the body of that. Then it is known
        whether the offer is in a head.
        """
        offer = _OFFER.search(seen) if self._whole_body(fed) < len(seen) and b"pgrade" in seen.lower() else None
        while offer is not None:
            begins = offer.start()
            blank = seen.rfind(_HEAD_ENDS, 0, begins)
            if blank >= 0:
                fed = self._feed_until(seen, fed, blank + len(_HEAD_ENDS))
            fed = self._feed_until(seen, fed, min(begins, self._whole_body(fed)))
            if self._in_head or self._length is None:
                blank = seen.find(_HEAD_ENDS, begins)  # no head begins before that
                ends = blank if blank >= 0 else len(seen)
            else:
                ends = self._whole_body(fed)
            if self._in_head:
                seen = seen[:begins] + _OFFER.sub(_HIDDEN, seen[begins:ends]) + seen[ends:]
            offer = _OFFER.search(seen, ends)
        self._feed_until(seen, fed, len(seen))

    def _feed_until(self, seen: bytes, fed: int, end: int) -> int:
        """Hand over what is before `end`, and return how much the parser has then."""
        if end > fed:
            self.parser.feed_data(seen[fed:end])
        return max(fed, end)

    def _whole_body(self, fed: int) -> int:
        """Where the body ends that the parser is in, if its head says its length."""
        left = 0 if self._in_head or self._length is None else self._length - self._body_bytes
        return fed + left

    def _hold(self) -> None:
        """Tell whether the client alone keeps this connection busy: by a body that has to come, with no whole request
        before it, or by answers that it has to fetch. The next request does not begin before these are fetched."""
        last: RequestResponseCycle | None = self.cycle
        coming = last is not None and last.more_body and not last.response_complete and not self.pipeline
        self._held = coming or self.flow.write_paused
        if self._held:
            self._shared.holds(self, self._whose)
        else:
            self._shared.frees(self)

    def _count_ahead(self) -> None:
        """Count the requests that have not begun: their heads, and their bodies, which `Bodies` does not count yet."""
        before, self._ahead = self._ahead, sum([waiting_bytes(cycle) for cycle, _ in self.pipeline])
        self._shared.ahead += self._ahead - before

    def _lacks(self, more: int) -> bool:
        """Whether there is no room for `more` bytes of requests that wait."""
        return self._ahead + more > self.max_unsent_bytes - self._shared.ahead - more

    def _owned(self, owner: str) -> None:
        """From now on the connection counts as one of this owner's."""
        self._whose = ("key", owner)
        if self._held:
            self._shared.holds(self, self._whose)

    def _make_room(self) -> None:
        """Close for a new connection."""
        if self._held and not self.flow.write_paused and not self.cycle.response_started:
            self.transport.write(_TOO_MANY)  # who does not send any more can read it
        self._drop("crowded" if self._held else "idle")

    def _moves(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _start_clock(self) -> None:
        """One timer serves many requests: it is set anew only when it goes off too early."""
        if self._due is None:
            self._due = self.loop.time() + self.head_seconds
            if self._timer is None:
                self._timer = self.loop.call_at(self._due, self._tick)

    def _stop_clock(self) -> None:
        self._due = None

    def _tick(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self.loop.time() < self._due:
            self._timer = self.loop.call_at(self._due, self._tick)
        else:
            self._due = None
            self._overdue()

    def _overdue(self) -> None:
        """A head did not come in time, or the rest of a body whose request was answered before."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_clock()  # what is being answered, this request or the one before, has its own limit
        elif self._in_head:
            self._refuse(_TOO_SLOW)
        else:
            self._count("slow")
            self.transport.close()
            self._hurry()

    def _stop(self, answer: bytes) -> None:
        """Refuse, and stop the parser, so that it makes no more calls for the data that it has."""
        self._refuse(answer, head=True)
        raise _RefusedError

    def _refuse(self, answer: bytes, head: bool = False) -> None:
        """Read no more; answer what came whole, then give this answer to what did not, and close.

        head: it is a head that is refused, and no body of a request before it.
        """
        if self._last_word is not None or self.transport is None or self.transport.is_closing():
            return
        self._stop_clock()
        self._count(_REASONS[answer])
        self._last_word = answer
        last = self._cycles[-1] if self._cycles else None
        if last is not None and not self._in_head and not head and last.response_complete:
            self._last_word = b""  # the request whose body is at fault was answered before it came
        elif last is not None and not self._in_head and not head and last.more_body:
            broken = self._cycles.pop()
            broken.disconnected = True
            broken.message_event.set()
            if self.pipeline and self.pipeline[0][0] is broken:
                self.pipeline.popleft()
                forget(broken)
                self._count_ahead()
            if broken.response_started:
                self._last_word = b""
        self._speak()

    def _speak(self) -> None:
        """Send the last answer once all requests before it have been answered."""
        if all(cycle.response_complete for cycle in self._cycles) and not self.transport.is_closing():
            if self._last_word:
                self.transport.write(self._last_word)
            self.transport.close()
            self._hurry()

    def _hurry(self) -> None:
        """Set a limit on the time in which the client must fetch what was written before the connection closes."""
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.head_seconds, self._drop, "unread")

    def _drop(self, reason: str) -> None:
        """Close without a last answer."""
        self._count(reason)
        self.transport.abort()

    def _count(self, reason: str) -> None:
        """Count a refusal. Anyone can cause one, so the log has it at level debug only."""
        if self.instruments is not None:
            self.instruments.refused.labels(reason).inc()
        logs.LOGGER.debug("connection refused", extra={"fields": {"reason": reason}})


_SHARED: WeakKeyDictionary[ServerState, Connections[BoundedProtocol]] = WeakKeyDictionary()


class _RefusedError(Exception):
    """Stops the parser."""
