"""What a dialect defines: everything in which one way of asking differs from the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.routing import BaseRoute

from service.errors import ServiceError

_READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Dialect:
    """name: in metrics and the log. routes: what it answers. paths: whole paths that are its own, also where no route
    answers. work: those that put models to work; the group `model`, if there is one, is the model that they name.
    error: the body of an error, of its code and its message. statuses: where its clients expect another one than
    the common table gives. probes: routes that machines ask again and again; the log has them at level debug.
    reads: paths that are its own where something is read, although they are another's where something is sent.
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
    """The dialect whose path this is; where it is nobody's, the first."""
    if method in _READING:
        for dialect in dialects:
            if dialect.reads is not None and dialect.reads.fullmatch(path):
                return dialect
    for dialect in dialects:
        if dialect.paths.fullmatch(path):
            return dialect
    return dialects[0]
