"""Whether a server still answers, measured from outside."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

from benchmarks.attack.requests import Attack

ALIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"


class Liveness:
    """Asks for liveness again and again on one connection. `worst` is the longest that an answer took, in seconds."""

    def __init__(self, port: int, pause: float = 0.005, patience: float = 100.0) -> None:
        self._port, self._pause, self._patience = port, pause, patience
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.worst = 0.0

    def __enter__(self) -> Liveness:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(120)

    def _watch(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), self._patience) as connection:
                while not self._stop.is_set():
                    begun = time.monotonic()
                    connection.sendall(ALIVE)
                    if not connection.recv(4096):
                        break
                    self.worst = max(self.worst, time.monotonic() - begun)
                    time.sleep(self._pause)
                continue
            self.worst = max(self.worst, time.monotonic() - begun)
            time.sleep(self._pause)


def send(port: int, attack: Attack, seconds: float = 100.0) -> list[int]:
    """The statuses that came back; empty when the connection ended without one."""
    statuses: list[int] = []
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        broken = threading.Event()

        def talk() -> None:
            try:
                for n, piece in enumerate(attack.pieces):
                    if n and attack.pause:
                        time.sleep(attack.pause)
                    connection.sendall(piece)
            except OSError:
                broken.set()

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        statuses = _responses(connection, attack.answers)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    return statuses


def _responses(connection: socket.socket, most: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError, ValueError), connection.makefile("rb") as reader:
        while len(found) < most:
            line = reader.readline(65_536)
            if not line.startswith(b"HTTP/1."):
                break
            status, length = int(line.split()[1]), 0
            while (header := reader.readline(65_536)) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                elif name.lower() == b"transfer-encoding":
                    return [*found, status]
            while length and (part := reader.read(min(length, 1 << 20))):
                length -= len(part)
            found.append(status)
    return found
