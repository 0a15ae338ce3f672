"""Which encodings of an answer a client takes, and the compression of answers."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

COMPRESS_FROM, COMPRESS_LEVEL = 4096, 1


def takes(accepted: str, encoding: str) -> bool:
    """Whether an Accept-Encoding header names this encoding, and does not exclude it by a weight of 0."""
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == encoding:
            return not _excludes(weight)
    return False


def _excludes(weight: str) -> bool:
    """Whether it is a weight of 0, or one that is no number."""
    name, found, value = weight.partition("=")
    if not found or name.strip() != "q":
        return False
    try:
        return not float(value) > 0
    except ValueError:
        return True


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
