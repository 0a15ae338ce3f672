"""What a server tells about the client of one request beyond ASGI: an extension of the scope.

Through ASGI alone a body is asked for message by message, and to hear of a client that leaves takes a task that waits
for it. Where the server is not `protocol`, `Arrival` does it so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.types import Scope

EXTENSION = "pgb.client"


class Client(Protocol):
    """Of one request."""

    gone: bool

    def whole(self) -> bytes | None:
        """The body, once, if all of it has come; None when it must be waited for."""

    def watch(self, leave: Callable[[], None]) -> Callable[[], object]:
        """Call `leave` when the client goes, until what is returned is called."""


def client_of(scope: Scope) -> Client | None:
    """What the server tells; None when it tells nothing."""
    extensions = scope.get("extensions")
    found: Client | None = extensions.get(EXTENSION) if extensions else None
    return found
