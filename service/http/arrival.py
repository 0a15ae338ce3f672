"""ASGI middleware in front of every route. It names, times, limits, watches and logs each request."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.dialects.base import Dialect, spoken
from service.engine import Engine
from service.errors import ENDING, InvalidInput, Overloaded, ServiceError, Unavailable
from service.http.body import Bodies, declared, uncompressed
from service.http.client import Client, client_of
from service.http.failures import internal, let_go, no_path, render
from service.http.paths import path_of
from service.keys import Keys, secrets_of
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
_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# At most 32 characters, so that a header of digits and a letter costs nothing, however long it is.
_NUMBER = re.compile(r"(?=.{1,32}\Z)\+?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


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
        self._bodies = Bodies(parts.settings, parts.instruments)
        self._name, self._numbers = secrets.token_hex(8), itertools.count(1)  # for requests without an id of their own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # if a header is given twice, the first one counts
        path = path_of(scope)
        dialect = spoken(self._parts.dialects, scope["method"], path)
        client = client_of(scope)
        # A request behind another on its connection was complete before this instant.
        stamps = Stamps(client.received) if client is not None else Stamps()
        call = Call(self._named(headers), dialect=dialect.name, stamps=stamps)
        scope.setdefault("state", {})["call"] = call
        status = CLIENT_GONE
        begun = over = False

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", call.id.encode())]
                if self._ends(client, over):
                    MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        self._instruments.open.inc()
        self._parts.engine.in_flight += 1
        try:
            if _CONTROL.search(path):  # a route's pattern would match a path with a line end behind it
                await no_path(dialect)(scope, receive, answer)
                return
            if client is not None and client.behind:  # one more answer would not be counted until it is sent
                await client.fetched()
            work = dialect.work.fullmatch(path) if scope["method"] == "POST" else None
            try:
                if not await self._took(call, work, headers, client, scope, receive):
                    return
            except ServiceError as error:
                if work and isinstance(error, Overloaded):
                    self._refused(call, work.groupdict().get("model"))
                await render(dialect, error)(scope, receive, answer)
                return
            await self._run(uncompressed(scope, call.body), call.body, receive, answer)
        except asyncio.CancelledError:
            if begun or not self._given_up():
                raise
            over = True
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
            self._bodies.free(call)
            call.body = b""  # the server keeps the scope until another request comes
            self._parts.engine.in_flight -= 1
            self._instruments.open.dec()
            self._account(call, dialect, scope, status)

    def _ends(self, client: Client | None, over: bool) -> bool:
        """Whether a connection ends with an answer. over: nothing behind it is answered either."""
        draining = self._parts.lifecycle.draining
        if client is None:
            return draining
        # Who waits to be told to send a body will not send it now; what comes next would be taken for it.
        return client.waits or (draining and (over or not client.followed))

    def _named(self, headers: Mapping[bytes, bytes]) -> str:
        """The request's id: what the client gave, if it can be one, or else a new one."""
        given = str(headers.get(b"x-request-id", b""), "latin-1")
        return given if _ID.fullmatch(given) else f"{self._name}{next(self._numbers):016x}"

    async def _took(
        self,
        call: Call,
        work: re.Match[str] | None,
        headers: Mapping[bytes, bytes],
        client: Client | None,
        scope: Scope,
        receive: Receive,
    ) -> bool:
        """Check the key and the room for the request, then read its whole body. False when the client left before its
        end.

        work: the path, if it runs a model. Raises ServiceError when the request is refused.
        """
        size = declared(headers)
        peer = scope.get("client")
        call.flow = f"{peer[0]}:{peer[1]}" if peer else ""
        if (work or size != 0) and self._parts.keys.required:  # who has no valid key hears of no load either
            call.owner = call.flow = self._parts.keys.check(secrets_of(Headers(scope=scope)), "use")
            if client is not None:
                client.owned(call.owner)
        if work:
            self._check_room(call, size or 0)
        self._give(call, scope["headers"])
        self._bodies.check(headers, size)
        body = await self._bodies.read(call, client, receive)
        if body is None:
            return False
        call.body = self._bodies.plain(call, headers, body)
        return True

    def _given_up(self) -> bool:
        """Whether the server stops and has cancelled this request, as its time to be answered is over. The
        cancellation is taken back, so that the client can be told."""
        running = asyncio.current_task()
        if running is None or not self._parts.lifecycle.draining:
            return False
        running.uncancel()
        return True

    def _check_room(self, call: Call, size: int) -> None:
        """Refuse a request before its body is read if every model would refuse it afterwards.

        size: 0 for a body in chunks; the engine checks the request again once its size is known.
        """
        try:
            self._parts.engine.registry.check(call.flow, size)
        except Overloaded:
            self._instruments.rejections.labels("overloaded").inc()
            raise

    def _refused(self, call: Call, named: str | None) -> None:
        """Count a request that is refused before its body says which model it is for, as far as that is known.

        named: the model in its path.
        """
        model = self._parts.engine.registry.meant(named)
        if model is not None:
            call.model, call.version = model.name, model.version
            model.statistics.failed(call)

    def _give(self, call: Call, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Set the time in which the request must be answered: the least that the settings, the client and whoever
        passes on its request give. Raises InvalidInput for a time that is none."""
        call.give(self._settings.max_request_seconds)
        for name, value in headers:
            if name == TIMEOUT_HEADER:
                call.give(_milliseconds(str(value, "latin-1")))

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
        if call.failed(status):
            self._instruments.faults.labels(*labels).inc()
        logs.request(call, scope["method"], route, status, probe)
        if self._parts.tracer is not None:
            self._parts.tracer.request(call, Headers(scope=scope), f"{scope['method']} {route}", status)


def _waiting(receive: Receive, leave: Callable[[], None]) -> Callable[[], object]:
    """Call `leave` when ASGI's next message says that the client has gone, until the returned function is called."""
    departure = asyncio.ensure_future(receive())
    departure.add_done_callback(lambda done: None if done.cancelled() else leave())
    return departure.cancel


def _milliseconds(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not (math.isfinite(value) and value > 0):
        raise InvalidInput(f"{TIMEOUT_HEADER.decode()} must be a number of milliseconds above 0")
    return value / 1e3
