"""What runs on which thread."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from service.dialects.huggingface import routes as huggingface
from service.dialects.native import health
from service.dialects.native import routes as native
from service.dialects.rerank import routes as rerank
from service.dialects.tei import routes as tei
from service.dialects.v2 import routes as v2


def _calls(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for below in dependant.dependencies:
        yield from _calls(below)


def test_no_route_and_no_dependency_of_one_costs_a_thread() -> None:
    """FastAPI sends plain functions to a pool of threads, at a tenth of a millisecond each."""
    routes = [
        route
        for module in (native, huggingface, tei, rerank, v2, health)
        for route in module.router.routes
        if isinstance(route, APIRoute)
    ]
    assert len(routes) > 20
    calls = {call for route in routes for call in _calls(route.dependant) if call is not None}
    waits = inspect.iscoroutinefunction
    assert [call for call in calls if not (waits(call) or waits(type(call).__call__))] == []  # type: ignore[operator]
