"""CORS: the origins whose pages may call the service, and what their browsers may send.

Before most requests a browser asks whether it may send them. Such a preflight is a request like others: `Arrival`
names, counts and logs it. Its answer names headers that the service knows, and repeats none that were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# Of the service, of tracing, and of clients that run in browsers. Accept and Content-Type need not be named.
HEADERS = (
    *("authorization", "content-encoding", "inference-header-content-length", "x-api-key", "x-request-id"),
    *("x-request-timeout-ms", "traceparent", "tracestate", "user-agent", "x-hf-bill-to"),
)

# What a page needs to read an answer: where the tensors of v2 begin, how long it took, and when to come again.
EXPOSED = (
    *("inference-header-content-length", "retry-after", "server-timing", "x-request-id", "x-compute-type"),
    *("x-compute-time", "x-compute-characters", "x-compute-tokens", "x-total-time", "x-tokenization-time"),
    *("x-queue-time", "x-inference-time"),
)


def allowed(origins: Sequence[str]) -> dict[str, Any]:
    """What both parts are made with."""
    return {
        "allow_origins": origins,
        "allow_methods": ["*"],
        "allow_headers": HEADERS,
        "expose_headers": EXPOSED,
    }


class Origins(CORSMiddleware):
    """ASGI middleware outside of all others, so that pages can read every refusal. It leaves preflights alone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        answer: ASGIApp = self.app if _preflight(scope) else super().__call__
        await answer(scope, receive, send)


class Preflights(CORSMiddleware):
    """ASGI middleware inside of all others, which answers preflights."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        answer: ASGIApp = super().__call__ if _preflight(scope) else self.app
        await answer(scope, receive, send)


def _preflight(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return False
    return {b"origin", b"access-control-request-method"} <= {name for name, _ in scope["headers"]}
