"""Reads the bodies of requests within their limits, and decompresses them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from starlette.types import Receive, Scope

from service.batching.admission import Backlog
from service.errors import Malformed, Overloaded, TooLarge, TooSlow
from service.http.client import Client
from service.observe.instruments import Instruments
from service.observe.metrics import Call
from service.settings import Settings

# A client that holds more than max_pending_bytes / LITTLE must leave max_pending_bytes / RESERVE free.
RESERVE, LITTLE = 8, 4096
_ENCODINGS = ("gzip", "deflate")
_DIGITS = 20


class Bodies:
    """The bodies of all requests that are not answered. Their bytes are limited together, and those of each alone."""

    def __init__(self, settings: Settings, instruments: Instruments) -> None:
        self._settings = settings
        self._seconds = min(settings.max_body_seconds, settings.max_request_seconds)
        self._instruments = instruments
        self._held = Backlog()  # bytes

    def check(self, headers: Mapping[bytes, bytes], size: int | None) -> None:
        """Judge a body by the head of its request. Raises TooLarge or Malformed."""
        if size is not None and size > self._settings.max_body_bytes:
            raise self._too_large()
        if _encoding(headers) not in (*_ENCODINGS, "identity", ""):
            raise Malformed("content-encoding must be gzip, deflate or none")

    async def read(self, call: Call, client: Client | None, receive: Receive) -> bytes | None:
        """The body as it was sent; None when the client left before its end. Raises TooLarge, TooSlow or Overloaded."""
        whole = client.whole() if client is not None else None
        if whole is None:
            return await self._received(call, receive)
        self._keep(call, len(whole), len(whole))
        return whole

    def plain(self, call: Call, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
        """The body, decompressed. Raises Malformed, TooLarge or Overloaded."""
        if _encoding(headers) not in _ENCODINGS:
            return body
        plain = decompressed(body, self._settings.max_body_bytes)
        self._hold(call, len(plain) - len(body))
        return plain

    def free(self, call: Call) -> None:
        """The request has ended."""
        self._held.done(call.flow, call.held_bytes)

    async def _received(self, call: Call, receive: Receive) -> bytes | None:
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
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
            raise TooSlow(f"the body did not arrive within {self._seconds:g} seconds") from None

    def _keep(self, call: Call, size: int, more: int) -> None:
        """Count `more` bytes of a body that has `size` bytes by now. Raises TooLarge or Overloaded."""
        if size > self._settings.max_body_bytes:
            raise self._too_large()
        self._hold(call, more)

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

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._settings.max_body_bytes} bytes")


def declared(headers: Mapping[bytes, bytes]) -> int | None:
    """Bytes of the body that the head announces; None if they are not known: it comes in chunks, or another server let
    through what is no number."""
    if b"transfer-encoding" in headers:
        return None
    size = headers.get(b"content-length", b"0")
    # It may begin with thousands of zeros, which `int` does not take. What has more than 20 digits is too much anyway.
    return int(size.lstrip(b"0")[:_DIGITS] or b"0") if size.isdigit() else None


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


def uncompressed(scope: Scope, body: bytes) -> Scope:
    """The scope as if the body had been sent uncompressed."""
    if not any(name == b"content-encoding" for name, _ in scope["headers"]):
        return scope
    kept = [(n, v) for n, v in scope["headers"] if n not in (b"content-encoding", b"content-length")]
    scope["headers"] = [*kept, (b"content-length", str(len(body)).encode())]
    return scope


def _encoding(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"content-encoding")
    return "identity" if given is None else str(given, "latin-1").strip().lower()
