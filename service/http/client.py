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
