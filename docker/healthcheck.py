"""The health check of the images: whether the service answers 200 on /health, at the address where it listens.

    python -IS healthcheck.py

The address is read from the service's own socket, as the kernel lists it in /proc: whatever set it, a flag, a variable
or a file, is no matter. The standard library alone, because this runs every few seconds.
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

_LISTENS = "0A"  # the state of a socket, in the kernel's tables
_SECONDS = 3.0
# A socket at all addresses is asked at this one. The service takes IPv4 at `::`, too.
_ALL = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104


def main(proc: Path = Path("/proc")) -> int:
    """Ask once; 0 if the service is healthy."""
    try:
        for host, port in listening(proc):
            with closing(http.client.HTTPConnection(_ALL.get(host, host), port, timeout=_SECONDS)) as connection:
                connection.request("GET", "/health")
                return int(connection.getresponse().status != 200)
    except (OSError, http.client.HTTPException) as error:
        print(f"/health: no answer ({error!r})")
        return 1
    print("the service does not listen")
    return 1


def listening(proc: Path) -> Iterator[tuple[str, int]]:
    """Address and port of each socket at which the service listens."""
    own = {number for process in _services(proc) for number in _sockets(process)}
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENS and columns[9] in own:
                    yield _address(columns[1])


def _services(proc: Path) -> Iterator[Path]:
    """The processes that run the service; and an init that starts it, which has no sockets."""
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if b"\0-m\0service\0" in (process / "cmdline").read_bytes():
                yield process


def _sockets(process: Path) -> Iterator[str]:
    """The numbers of a process's sockets, under which the kernel's tables have them."""
    with suppress(OSError):  # it has ended, or is another user's
        for file in (process / "fd").iterdir():
            with suppress(OSError):  # it was closed
                kind, _, number = os.readlink(file).partition(":")
                if kind == "socket":
                    yield number.strip("[]")


def _address(text: str) -> tuple[str, int]:
    """Of `0100007F:1F40`: an address in words of four bytes, each in the machine's order, and a port."""
    address, port = text.split(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)


if __name__ == "__main__":
    sys.exit(main())
