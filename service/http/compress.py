"""The compression of answers."""

from __future__ import annotations

import zlib
from functools import lru_cache

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.dialects.common import takes

COMPRESS_FROM, COMPRESS_LEVEL = 4096, 1
_KEPT = 16  # bodies: the pages, the OpenAPI document, the last metrics
_GZIP = 31  # as zlib numbers the format


class Compress:
    """ASGI middleware that compresses long answers for clients that take gzip.

    The answer to a GET is often the same as before. The last of them are kept in their compressed form; they hold
    nothing that a client sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._packed = GZipMiddleware(app, COMPRESS_FROM, COMPRESS_LEVEL)
        self._app = app
        self._pack = lru_cache(_KEPT)(_packed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        accepted = next((value for name, value in scope["headers"] if name == b"accept-encoding"), b"")
        packs = takes(str(accepted, "latin-1"), "gzip")
        if packs and scope["method"] == "GET":
            await self._got(scope, receive, send)
            return
        answer = self._packed if packs else IdentityResponder(self._app, COMPRESS_FROM)
        await answer(scope, receive, send)

    async def _got(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET. No route sends such an answer in pieces."""
        begun: Message | None = None

        async def packing(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = message
                return
            start, begun = begun, None
            if start is not None:
                headers = MutableHeaders(raw=list(start["headers"]))
                body = message.get("body", b"")
                if len(body) >= COMPRESS_FROM and "content-encoding" not in headers:
                    message = {**message, "body": self._pack(body)}
                    headers.add_vary_header("Accept-Encoding")
                    headers["content-encoding"] = "gzip"
                    headers["content-length"] = str(len(message["body"]))
                await send({**start, "headers": headers.raw})
            await send(message)

        await self._app(scope, receive, packing)


def _packed(body: bytes) -> bytes:
    return zlib.compress(body, COMPRESS_LEVEL, _GZIP)
