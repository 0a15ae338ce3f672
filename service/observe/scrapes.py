"""One making of all metrics for everyone who waits for them, so that scrapes cannot take the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.observe.metrics import clock

_PAUSE = 3.0  # times as long as making takes


class Scrapes:
    """The result of `make`, which is made after all have asked who get it.

    After each making comes a pause of three times its length. Who asks meanwhile waits for the next one, so making
    takes at most a quarter of the time, however many ask.
    """

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._next: asyncio.Task[bytes] | None = None
        self._rested = 0.0  # an instant of `clock`

    async def text(self) -> bytes:
        """What is made next."""
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._made())
        return await asyncio.shield(self._next)  # others wait for it, too

    async def _made(self) -> bytes:
        await asyncio.sleep(max(0.0, self._rested - clock()))
        self._next = None  # who asks from here on waits for another
        begun = clock()
        made = self._make()
        ended = clock()
        self._rested = ended + _PAUSE * (ended - begun)
        return made
