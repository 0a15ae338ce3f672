"""Futures that requests wait for. Each is settled once; settling it again has no effect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from service.errors import DeadlineExceeded
from service.observe.metrics import clock

Result = TypeVar("Result")


def settle(future: asyncio.Future[Result], outcome: Result | BaseException) -> None:
    """Give a result or an error to the waiter, if it still waits. Called on the loop of the future."""
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


@contextmanager
def expiring(future: asyncio.Future[Result], deadline: float) -> Iterator[None]:
    """Inside, the future fails with DeadlineExceeded at an instant of `clock`."""
    if deadline == float("inf"):
        yield
        return
    late = DeadlineExceeded("the request's deadline passed before its answer was ready")
    timer = future.get_loop().call_later(deadline - clock(), settle, future, late)
    try:
        yield
    finally:
        timer.cancel()
