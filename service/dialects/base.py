"""What a dialect defines: everything in which one way of asking differs from the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.routing import BaseRoute

from service.errors import EmptyInput, InputRejected, InvalidInput, ServiceError

_READING = ("GET", "HEAD")
# The statuses of a dialect that has no 422: 400 for everything that is wrong with an input.
WITHOUT_422: Mapping[type[ServiceError], int] = dict.fromkeys((InvalidInput, EmptyInput, InputRejected), 400)


@dataclass(frozen=True)
class Dialect:
    """One way of asking the service.

    name: its name in metrics and the log. routes: its routes. paths: whole paths that belong to it, also those without
    a route. work: paths that run a model; the group `model`, if there is one, is the model that the path names. error:
    makes the body of an error from its code and its message. statuses: where they differ from the common table.
    probes: routes that machines ask regularly; the log shows them at level debug, and metrics count them as probes.
    reads: paths that belong to it when they are read, but to another dialect when something is sent to them.
    """

    name: str
    routes: Sequence[BaseRoute]
    paths: re.Pattern[str]
    work: re.Pattern[str]
    error: Callable[[str, str], dict[str, object]]
    statuses: Mapping[type[ServiceError], int] = field(default_factory=dict)
    probes: tuple[str, ...] = ()
    reads: re.Pattern[str] | None = None


def spoken(dialects: Sequence[Dialect], method: str, path: str) -> Dialect:
    """The dialect to which a path belongs; the first dialect if it belongs to none."""
    if method in _READING:
        for dialect in dialects:
            if dialect.reads is not None and dialect.reads.fullmatch(path):
                return dialect
    for dialect in dialects:
        if dialect.paths.fullmatch(path):
            return dialect
    return dialects[0]
