"""Does long work in pieces on a few threads, in fair turns, and only while a request waits for it.

Most of it is tokenising. Finding answers in many windows, and putting many labels in order, are done here, too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pgb_core.inference.steps import Result, Work
from service.batching.admission import Backlog, Turns
from service.batching.futures import expiring, settle
from service.batching.threads import started
from service.errors import Unavailable
from service.observe.metrics import clock

_SETTLING = 0.1
_FIRST_GUESS = 1e-6  # seconds a character


@dataclass(eq=False, slots=True)
class _Task:
    """Work of a request: the generator that does it, and where its result goes."""

    work: Work[Any]
    flow: Hashable
    characters: int
    future: asyncio.Future[Any]
    came: float
    learns: bool
    read: int = 0
    gone: bool = False


class TokenizingLine:
    """Tasks whose steps run on `threads` threads. The next step belongs to the flow that was served least, and to the
    task of that flow that was read least. So a short text waits for one step of a long one, not for all of it."""

    def __init__(self, threads: int) -> None:
        self._size = threads
        self._threads: list[threading.Thread] = []
        self._tasks: list[_Task] = []
        self._turns = Turns()
        self._backlog = Backlog()  # characters
        self._seconds_per_character = _FIRST_GUESS
        self._changed = threading.Condition()
        self._closing = False

    def wait_seconds(self, flow: Hashable, characters: int) -> float:
        """How long so many characters would wait for others, by estimate."""
        with self._changed:
            return self._backlog.ahead(flow, characters) * self._seconds_per_character / self._size

    async def run(
        self, work: Work[Result], flow: Hashable, characters: int, deadline: float, learns: bool = True
    ) -> Result:
        """Run the generator and return its result. characters: about how many it reads, or as many as are read in the
        time that it takes. learns: whether its steps are used to measure the time of a character.

        Raises what the generator raises, DeadlineExceeded or Unavailable. After the deadline, or when the call is
        cancelled, no more steps are run.
        """
        task = _Task(work, flow, characters, asyncio.get_running_loop().create_future(), clock(), learns)
        with self._changed:
            if self._closing:
                raise Unavailable("the service is shutting down")
            if len(self._threads) < self._size:
                self._threads.append(started(self._serve, "pgb-tokenize"))
            self._backlog.add(flow, characters)
            self._turns.come(flow)
            self._tasks.append(task)
            self._changed.notify()
        try:
            with expiring(task.future, deadline):
                result: Result = await task.future
                return result
        finally:
            with self._changed:
                task.gone = True
                if task in self._tasks:  # nobody is at it
                    self._tasks.remove(task)
                    self._leave(task)

    def close(self) -> None:
        """Let the threads end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """One of the next task, whose texts no frame holds while the thread waits. False when there will be none."""
        with self._changed:
            while not self._tasks:
                if self._closing:
                    return False
                self._changed.wait()
            task = min(self._tasks, key=lambda t: (self._turns.served(t.flow), t.read, t.came))
            self._tasks.remove(task)
        begun = clock()
        try:
            read = next(task.work)
        except StopIteration as stop:
            self._end(task, stop.value)
            return True
        except BaseException as error:  # the waiter must hear of any failure, and the thread must live
            self._end(task, error)
            return True
        with self._changed:
            if read and task.learns:
                seconds = (clock() - begun) / read
                self._seconds_per_character += _SETTLING * (seconds - self._seconds_per_character)
            self._turns.serve(task.flow, read)
            part = min(read, task.characters - min(task.read, task.characters))
            self._backlog.done(task.flow, part)
            task.read += read
            if task.gone:
                self._leave(task)
            else:
                self._tasks.append(task)
        return True

    def _end(self, task: _Task, outcome: object) -> None:
        with self._changed:
            self._leave(task)
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            task.future.get_loop().call_soon_threadsafe(settle, task.future, outcome)

    def _leave(self, task: _Task) -> None:
        """It needs no more turns. Called with the lock held."""
        self._turns.leave(task.flow)
        left = max(0, task.characters - task.read)
        if left:
            self._backlog.done(task.flow, left)
