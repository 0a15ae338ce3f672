"""The compression of answers."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

from service.dialects.common import takes

COMPRESS_FROM, COMPRESS_LEVEL = 4096, 1


class Compress:
    """ASGI middleware that compresses long answers for clients that take gzip."""

    def __init__(self, app: ASGIApp) -> None:
        self._packed = GZipMiddleware(app, COMPRESS_FROM, COMPRESS_LEVEL)
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        accepted = next((value for name, value in scope["headers"] if name == b"accept-encoding"), b"")
        packs = takes(str(accepted, "latin-1"), "gzip")
        answer = self._packed if packs else IdentityResponder(self._app, COMPRESS_FROM)
        await answer(scope, receive, send)
