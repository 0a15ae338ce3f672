"""What a server tells about the client of one request beyond ASGI: an extension of the scope.

With plain ASGI a body arrives message by message, and a separate task has to wait for the message that says that the
client has disconnected. `protocol` offers this extension; under other servers `Arrival` uses plain ASGI.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.types import Scope

EXTENSION = "pgb.client"


class Client(Protocol):
    """The client of one request."""

    received: float  # when the head was complete: an instant of `clock`
    gone: bool
    waits: bool  # the client sends no body before it is told to: `Expect: 100-continue`
    behind: bool  # the client has not fetched the answers before, and the buffer for them is full
    followed: bool  # another request of the connection waits for the answer

    def whole(self) -> bytes | None:
        """The body, if all of it has arrived; it is given only once. None if it has not arrived yet."""

    async def fetched(self) -> None:
        """Wait until the client is not behind, or has left."""

    def owned(self, owner: str) -> None:
        """The request has a valid key of this owner."""

    def watch(self, leave: Callable[[], None]) -> Callable[[], object]:
        """Call `leave` when the client disconnects, until the returned function is called."""


def client_of(scope: Scope) -> Client | None:
    """The client of a request, if the server offers this extension; else None."""
    extensions = scope.get("extensions")
    found: Client | None = extensions.get(EXTENSION) if extensions else None
    return found
