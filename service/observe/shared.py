"""One making of a result for everyone who waits for it, so that a crowd that asks cannot take the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service.observe.metrics import clock

Result = TypeVar("Result")
_PAUSE = 3.0  # times as long as making takes
_MOST = 5.0  # seconds of a pause


class Shared(Generic[Result]):
    """The result of `make`, which is made after all have asked who get it.

    After each making comes a pause of three times its length, so making takes at most a quarter of the time, however
    many ask. No pause is longer than five seconds: what takes long mostly waits itself, such as for a disk. Who asks
    during a pause waits for the next making.
    """

    def __init__(self, make: Callable[[], Awaitable[Result]]) -> None:
        self._make = make
        self._next: asyncio.Task[Result] | None = None
        self._turn = asyncio.Lock()
        self._rested = 0.0  # an instant of `clock`

    async def next(self) -> Result:
        """What is made next. Raises what making it raises."""
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._made())
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())  # all who asked may be gone
        return await asyncio.shield(self._next)  # others wait for it, too

    async def _made(self) -> Result:
        async with self._turn:
            await asyncio.sleep(max(0.0, self._rested - clock()))
            self._next = None  # who asks from here on waits for another
            begun = clock()
            try:
                return await self._make()
            finally:
                ended = clock()
                self._rested = ended + min(_PAUSE * (ended - begun), _MOST)
