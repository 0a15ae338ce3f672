"""Sends the requests of a simulation to real servers: each at its instant, whether or not earlier ones are answered.

The planner draws arrivals (`service.planning.arrivals`). Here the same arrivals go to servers over HTTP, so that a
forecast and a measurement are of the same requests. Latency counts from the instant at which a request is due.
"""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from pgb_core.inference.batches import prepare_texts
from pgb_core.inference.tokenizer import Tokenizer
from service.planning.arrivals import Arrival, Lengths

_HEAD = b"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
_LAG = 0.02  # seconds that a due request may be sent late before the generator is said not to keep up
_LEAVE = 60.0  # seconds after the last arrival, in which answers are waited for


@dataclass(frozen=True)
class Sent:
    """What became of requests. latencies: seconds, of those with status 200. refused: those with status 429. failed:
    all others. late: the 99th percentile of the seconds by which requests were sent after they were due."""

    latencies: Sequence[float]
    refused: int
    failed: int
    late: float
    seconds: float
    answered_in_time: int

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return round(1e3 * float(np.quantile(self.latencies, share)), 3) if self.latencies else float("nan")

    @property
    def goodput(self) -> float:
        """Answers a second while requests came; what was answered after that does not count."""
        return self.answered_in_time / self.seconds

    def summary(self) -> dict[str, Any]:
        """The figures of a result file."""
        return {
            "answered": len(self.latencies),
            "refused": self.refused,
            "failed": self.failed,
            "p50_ms": self.percentile(0.5),
            "p95_ms": self.percentile(0.95),
            "p99_ms": self.percentile(0.99),
            "sent_late_p99_ms": round(1e3 * self.late, 3),
            "generator_kept_up": self.late < _LAG,
        }


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._seen = b""
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of TCP
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits gets status 0."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    @property
    def open(self) -> bool:
        """Whether it can be used."""
        return self._transport is not None

    async def ask(self, request: bytes) -> int:
        """The status."""
        if self._transport is None:
            return 0
        self._seen, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """Answers have a content-length."""
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        lower = head.lower()
        size = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(body) >= size and not self._answer.done():
            self._answer.set_result(int(head.split(b" ", 2)[1]))

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()


def by_length(texts: Sequence[str], tokenizer: Tokenizer) -> dict[int, list[str]]:
    """Texts by their number of tokens."""
    found: dict[int, list[str]] = {}
    for text, tokens in zip(texts, prepare_texts(tokenizer, texts), strict=True):
        found.setdefault(len(tokens), []).append(text)
    return found


def requests(arrivals: Sequence[Arrival], texts: Mapping[int, Sequence[str]]) -> list[bytes]:
    """The HTTP request of each arrival, with texts of its lengths."""
    made: dict[tuple[Lengths, int], bytes] = {}
    found = []
    for n, arrival in enumerate(arrivals):
        key = arrival.lengths, n % 16
        if key not in made:
            inputs = [texts[length][(n + m) % len(texts[length])] for m, length in enumerate(arrival.lengths)]
            body = json.dumps({"inputs": inputs, "top_k": 1}).encode()
            made[key] = _HEAD + str(len(body)).encode() + b"\r\n\r\n" + body
        found.append(made[key])
    return found


def send(urls: Sequence[str], arrivals: Sequence[Arrival], bodies: Sequence[bytes], skip: float = 0.0) -> Sent:
    """Send each request when it is due, to the servers in turn; those due in the first `skip` seconds do not count."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection for each request that waits
    try:
        return asyncio.run(_send(urls, arrivals, bodies, skip))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _send(urls: Sequence[str], arrivals: Sequence[Arrival], bodies: Sequence[bytes], skip: float) -> Sent:
    servers = [_Server(str(parts.hostname), parts.port or 80) for parts in map(urlsplit, urls)]
    load = _Load(perf_counter() + 0.1, arrivals[-1].at, skip)
    waiting: set[asyncio.Task[None]] = set()
    for n, (arrival, request) in enumerate(zip(arrivals, bodies, strict=True)):
        wait = load.begun + arrival.at - perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(load.ask(servers[n % len(servers)], arrival.at, request))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    if waiting:
        _, left = await asyncio.wait(waiting, timeout=_LEAVE)
        load.failed += len(left)
        for task in left:
            task.cancel()
    for server in servers:
        server.close()
    return load.sent()


class _Server:
    """Where requests go, and the connections to it, which are used again."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._every: list[_Connection] = []
        self._idle: list[_Connection] = []

    async def ask(self, request: bytes) -> int:
        """The status; 0 when no answer came."""
        connection = self._idle.pop() if self._idle else None
        if connection is None or not connection.open:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
            except OSError:
                return 0
            self._every.append(connection)
        status = await connection.ask(request)
        self._idle.append(connection)
        return status

    def close(self) -> None:
        """End every connection."""
        for connection in self._every:
            connection.close()


@dataclass
class _Load:
    """Requests that are sent, and what became of those that count: due after `skip` seconds. last: the last is due."""

    begun: float
    last: float
    skip: float
    latencies: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    in_time: int = 0

    async def ask(self, server: _Server, due: float, request: bytes) -> None:
        """Send one request, and count it."""
        counts = due >= self.skip
        if counts:
            self.lateness.append(perf_counter() - self.begun - due)
        status = await server.ask(request)
        now = perf_counter() - self.begun
        if not counts:
            return
        if status == 200:
            self.latencies.append(now - due)
            self.in_time += now <= self.last
        elif status == 429:
            self.refused += 1
        else:
            self.failed += 1

    def sent(self) -> Sent:
        """The figures."""
        late = float(np.quantile(self.lateness, 0.99)) if self.lateness else 0.0
        return Sent(sorted(self.latencies), self.refused, self.failed, late, self.last - self.skip, self.in_time)
