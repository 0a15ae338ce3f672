"""ASGI middleware in front of every route. It names, times, limits, watches and logs each request."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.batching.admission import Backlog
from service.dialects.base import Dialect, spoken
from service.engine import Engine
from service.errors import ENDING, InvalidInput, Malformed, Overloaded, ServiceError, TooLarge, TooSlow, Unavailable
from service.http.client import client_of
from service.http.failures import internal, let_go, no_path, render
from service.keys import Keys, secret_of
from service.models.lifecycle import Lifecycle
from service.models.repository import Repository
from service.observe import logs
from service.observe.instruments import Instruments
from service.observe.metrics import Call, Stamps
from service.observe.tracing import Tracer
from service.settings import Settings

TIMEOUT_HEADER = b"x-request-timeout-ms"
CLIENT_GONE = 499
# In place of the dialect where requests to a probe's route are counted.
PROBE = "probe"
# A client that holds more than max_pending_bytes / LITTLE must leave max_pending_bytes / RESERVE free.
RESERVE, LITTLE = 8, 4096
_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_ENCODINGS = ("gzip", "deflate")


@dataclass(frozen=True)
class Parts:
    """What an application is made of; each is also on its state, where the routes find it."""

    settings: Settings
    dialects: Sequence[Dialect]
    instruments: Instruments
    tracer: Tracer | None
    lifecycle: Lifecycle
    repository: Repository
    keys: Keys
    engine: Engine


class Arrival:
    """Reads a whole request within its limits, runs the route, and stops it when the client disconnects."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._settings, self._instruments = parts.settings, parts.instruments
        self._held = Backlog()  # bytes of bodies
        self._name, self._numbers = secrets.token_hex(8), itertools.count(1)  # for requests without an id of their own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # if a header is given twice, the first one counts
        given = str(headers.get(b"x-request-id", b""), "latin-1")
        name = given if _ID.fullmatch(given) else f"{self._name}{next(self._numbers):016x}"
        dialect = spoken(self._parts.dialects, scope["method"], scope["path"])
        client = client_of(scope)  # a request behind another on its connection was complete before this instant
        call = Call(name, dialect=dialect.name, stamps=Stamps(client.received) if client is not None else Stamps())
        scope.setdefault("state", {})["call"] = call
        status = CLIENT_GONE
        begun = False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", call.id.encode())]
                if self._parts.lifecycle.draining:
                    MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        self._instruments.open.inc()
        self._parts.engine.in_flight += 1
        try:
            if _CONTROL.search(scope["path"]):  # a route's pattern would match a path with a line end behind it
                await no_path(dialect)(scope, receive, answer)
                return
            if client is not None and client.behind:  # one more answer would not be counted until it is sent
                await client.fetched()
            try:
                size = _declared(headers)
                peer = scope.get("client")
                call.flow = f"{peer[0]}:{peer[1]}" if peer else ""
                if size != 0 and self._parts.keys.required:  # no bytes are held for clients without a valid key
                    call.owner = call.flow = self._parts.keys.check(secret_of(Headers(scope=scope)), "use")
                work = dialect.work.fullmatch(scope["path"]) if scope["method"] == "POST" else None
                if work:
                    self._check_room(call, work.groupdict().get("model"), size or 0)
                self._check_head(headers, size, call)
                body = client.whole() if client is not None else None
                if body is None:
                    body = await self._read(call, receive)
                else:
                    self._keep(call, len(body), len(body))
                if body is None:
                    return
                call.body = self._plain(headers, body, call)
            except ServiceError as error:
                await render(dialect, error)(scope, receive, answer)
                return
            await self._run(_whole(scope, call.body), call.body, receive, answer)
        except asyncio.CancelledError:
            if begun or not self._given_up():
                raise
            if client is None or not client.gone:
                meant = scope["state"].get("dialect", dialect)
                await render(meant, Unavailable("the service is shutting down"))(scope, receive, answer)
        except ENDING:
            raise
        except BaseException as error:  # a fault of the service; the client sees a fixed text
            logs.LOGGER.exception("unexpected", extra={"fields": {"request_id": call.id}})
            let_go(error)
            if not begun:
                await internal(dialect)(scope, receive, answer)
        finally:
            self._held.done(call.flow, call.held_bytes)
            call.body = b""  # the server keeps the scope until another request comes
            self._parts.engine.in_flight -= 1
            self._instruments.open.dec()
            self._account(call, dialect, scope, status)

    def _given_up(self) -> bool:
        """Whether the server stops and has cancelled this request, as its time to be answered is over. The
        cancellation is taken back, so that the client can be told."""
        running = asyncio.current_task()
        if running is None or not self._parts.lifecycle.draining:
            return False
        running.uncancel()
        return True

    def _check_room(self, call: Call, named: str | None, size: int) -> None:
        """Refuse a request before its body is read if every model would refuse it afterwards.

        size: 0 for a body in chunks; the engine checks the request again once its size is known.
        """
        try:
            self._parts.engine.registry.check(call.flow, size)
        except Overloaded:
            self._instruments.rejections.labels("overloaded").inc()
            model = self._parts.engine.registry.meant(named)
            if model is not None:
                call.model, call.version = model.name, model.version
                model.statistics.failed(call)
            raise

    def _hold(self, call: Call, count: int) -> None:
        """Count `count` more bytes, or fewer if negative, until the request ends. Raises Overloaded.

        A client may not hold more bytes than are left free. A client that holds much must also leave an eighth of the
        room free. So a client that holds little finds room, however many others hold much.
        """
        call.held_bytes += count
        if count < 0:
            self._held.done(call.flow, -count)
            return
        self._held.add(call.flow, count)
        own, room = self._held.of(call.flow), self._settings.max_pending_bytes
        kept = room / RESERVE if own > room / LITTLE else 0
        if own > room - kept - self._held.total:
            self._instruments.rejections.labels("bytes").inc()
            raise Overloaded("too many bytes are waiting already", 1.0)

    def _check_head(self, headers: Mapping[bytes, bytes], size: int | None, call: Call) -> None:
        """Check the head. Raises InvalidInput, TooLarge or Malformed for errors that do not depend on the body."""
        call.give(self._settings.max_request_seconds)
        wanted = headers.get(TIMEOUT_HEADER)
        if wanted is not None:
            call.give(_milliseconds(str(wanted, "latin-1")))
        if size is not None and size > self._settings.max_body_bytes:
            raise self._too_large()
        if _encoding(headers) not in (*_ENCODINGS, "identity", ""):
            raise Malformed("content-encoding is gzip, deflate or none")

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._settings.max_body_bytes} bytes")

    async def _read(self, call: Call, receive: Receive) -> bytes | None:
        """The body as it was sent; None when the client left before its end."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.max_body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    more = message.get("body", b"")
                    body += more
                    self._keep(call, len(body), len(more))
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {self._settings.max_body_seconds:g} seconds") from None

    def _keep(self, call: Call, size: int, more: int) -> None:
        """Count `more` bytes of a body that has `size` bytes by now. Raises TooLarge or Overloaded."""
        if size > self._settings.max_body_bytes:
            raise self._too_large()
        self._hold(call, more)

    def _plain(self, headers: Mapping[bytes, bytes], body: bytes, call: Call) -> bytes:
        """The body, decompressed."""
        if _encoding(headers) not in _ENCODINGS:
            return body
        plain = decompressed(body, self._settings.max_body_bytes)
        self._hold(call, len(plain) - len(body))
        return plain

    async def _run(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the route with the whole body; cancel it when the client leaves before the answer."""
        message: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal message
            if message is not None:
                taken, message = message, None
                return taken
            return await receive()

        if not body:
            await self._app(scope, replay, send)
            return
        running, departed = asyncio.current_task(), False

        def leave() -> None:
            nonlocal departed
            if running is not None:
                departed = True
                running.cancel()

        client = client_of(scope)
        if client is not None and client.gone:
            return
        unwatch = _waiting(receive, leave) if client is None else client.watch(leave)
        try:
            await self._app(scope, replay, send)
        except asyncio.CancelledError:
            if not departed or running is None:
                raise
            running.uncancel()
        finally:
            running = None  # what is left of it cannot be cancelled
            unwatch()

    def _account(self, call: Call, dialect: Dialect, scope: Scope, status: int) -> None:
        route = getattr(scope.get("route"), "path", "(none)")
        probe = route in dialect.probes
        labels = PROBE if probe else call.dialect, call.model, status
        self._instruments.requests.labels(*labels).inc()
        if call.fault or status >= 500:
            self._instruments.faults.labels(*labels).inc()
        logs.request(call, scope["method"], route, status, probe)
        if self._parts.tracer is not None:
            self._parts.tracer.request(call, Headers(scope=scope), f"{scope['method']} {route}", status)


def _waiting(receive: Receive, leave: Callable[[], None]) -> Callable[[], object]:
    """Call `leave` when ASGI's next message says that the client has gone, until the returned function is called."""
    departure = asyncio.ensure_future(receive())
    departure.add_done_callback(lambda done: None if done.cancelled() else leave())
    return departure.cancel


def _encoding(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"content-encoding")
    return "identity" if given is None else str(given, "latin-1").strip().lower()


def _declared(headers: Mapping[bytes, bytes]) -> int | None:
    """Bytes of the body that the head announces; None if they are not known: it comes in chunks, or another server let
    through what is no number."""
    if b"transfer-encoding" in headers:
        return None
    declared = headers.get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else None


def decompressed(body: bytes, limit: int) -> bytes:
    """Decompress gzip or deflate, to at most `limit` bytes. Raises Malformed or TooLarge."""
    undo = zlib.decompressobj(wbits=47)
    try:
        found = undo.decompress(body, limit + 1)
    except zlib.error:
        raise Malformed("the body is not compressed as content-encoding says") from None
    if len(found) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes when decompressed")
    if not undo.eof or undo.unused_data:
        raise Malformed("the compressed body is cut short or followed by something else")
    return found


def _milliseconds(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not (math.isfinite(value) and value > 0):
        raise InvalidInput(f"{TIMEOUT_HEADER.decode()} is a number of milliseconds above 0")
    return value / 1e3


def _whole(scope: Scope, body: bytes) -> Scope:
    """The scope as if the body had been sent uncompressed."""
    if not any(name == b"content-encoding" for name, _ in scope["headers"]):
        return scope
    kept = [(n, v) for n, v in scope["headers"] if n not in (b"content-encoding", b"content-length")]
    scope["headers"] = [*kept, (b"content-length", str(len(body)).encode())]
    return scope
