"""The path that a request is for, wherever a server in front has put the application."""

from __future__ import annotations

from starlette.types import Scope


def path_of(scope: Scope) -> str:
    """The path without the prefix of a server in front, which is ASGI's `root_path`, as the routes see it."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    below = path.removeprefix(prefix)
    return below if not below or below.startswith("/") else path
