"""What goes wrong in use, done to each server in the same way."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import requests, tree
from benchmarks.peers.generator import Counts, Generator
from benchmarks.peers.lengths import Lengths
from benchmarks.peers.serving import Reply, Running

LEAVE_AFTER = 0.1  # seconds
_QUIET = 0.02  # seconds of processor time within a quarter of a second, above which a server is at work
_SETTLE_SECONDS = 20.0
IN_USE = 0.5  # share of the highest rate that is offered while something goes wrong
_AFTER = 2.0  # seconds from the start of the load
_EXIT_SECONDS = 40.0
_LEFT_SECONDS = 3.0


@dataclass(frozen=True)
class Asked:
    """A server, the usual bodies, and the bound. rate: the highest that it holds."""

    running: Running
    bodies: Path
    rows: Sequence[str]
    bound_ms: float
    lengths: Lengths
    rate: float

    def load(self, share: float, seconds: float, clients: int = 300) -> Generator:
        """At a share of the highest rate, started now."""
        url = f"http://127.0.0.1:{self.running.port}{self.running.rival.path}"
        return Generator(url, self.bodies, share * self.rate, seconds, self.bound_ms, clients)

    def body(self, texts: Sequence[str]) -> bytes:
        """As it is sent."""
        return json.dumps(self.running.rival.body(texts)).encode()


def departed(asked: Asked) -> dict[str, Any]:
    """Clients that leave before their answer: processor time that was spent on them, as a share of answering all."""
    running = asked.running
    bodies = [asked.body(requests.long_texts(asked.rows[n:], requests.CROWD_TEXTS)) for n in range(asked.lengths.crowd)]
    stayed, replies = _spent(running, lambda: _all(running, bodies))
    left, _ = _spent(running, lambda: _leave(running, bodies))
    answered = sum(reply.status == 200 for reply in replies or [])
    return {
        "clients": asked.lengths.crowd,
        "answered_when_they_stay": answered,
        "cpu_seconds_when_they_stay": round(stayed, 2),
        "cpu_seconds_when_they_leave": round(left, 2),
        "spent_share": spent_share(stayed, left, answered, len(bodies)),
    }


def spent_share(stayed: float, left: float, answered: int, clients: int) -> float | None:
    """Processor time of the second case as a share of what answering all clients would take; None if none was answered.

    A server may refuse some of those that stay, so what it took is scaled to all of them.
    """
    return round(left / (stayed * clients / answered), 2) if stayed > 0 and answered else None


def twice(asked: Asked) -> dict[str, Any]:
    """Twice the highest rate, and the seconds after it until one request is in time again."""
    found = asked.load(2.0, asked.lengths.fault, clients=1500).wait()
    begun = time.perf_counter()
    body = asked.body(["It works."])
    while True:
        reply = asked.running.send(body, 10.0)
        passed = time.perf_counter() - begun
        if reply.status == 200 and 1000 * reply.seconds <= asked.bound_ms:
            return {**found.record(), "in_time_again_after": round(passed, 1)}
        if passed > _SETTLE_SECONDS:
            return {**found.record(), "in_time_again_after": None}
        time.sleep(0.1)


def malformed(asked: Asked) -> dict[str, Any]:
    """The status of every wrong body, whether it came back in the answer, and whether the server answers after it."""
    running, found = asked.running, {}
    for name, body in requests.malformed(asked.body).items():
        reply = running.send(body, 10.0)
        found[name] = judged(reply)
    try:
        after = len(running.ask(["It works."])) == 1
    except ValueError:
        after = False
    return {"bodies": found, "answers_after": after}


def judged(reply: Reply) -> dict[str, Any]:
    """status: 0 for none. clear: it is a refusal that blames the sender."""
    return {
        "status": reply.status,
        "clear": 400 <= reply.status < 500,
        "echoes": requests.MARKER in reply.text,
        "answer_bytes": len(reply.text),
        "seconds": round(reply.seconds, 2),
    }


def costly(asked: Asked) -> dict[str, Any]:
    """One request of many long texts in the middle of usual ones: what becomes of it, and of the others."""
    body = asked.body(requests.long_texts(asked.rows, asked.lengths.costly_texts))
    generator = asked.load(IN_USE, asked.lengths.fault)
    time.sleep(_AFTER)
    reply = asked.running.send(body, 30.0)
    others = generator.wait()
    resident, _ = tree.memory_mb(asked.running.mark)
    told = {"status": reply.status, "seconds": round(reply.seconds, 2), "rss_mb_after": round(resident)}
    return {"costly": told, "others": others.record(), "others_in_time": round(others.share_in_time, 4)}


def stopped(asked: Asked) -> dict[str, Any]:
    """SIGTERM in the middle of usual requests: those in flight, readiness meanwhile, the end, and what is left.

    A connection that is refused is a client that asks elsewhere, and so is a 503 or a 429; a connection that ends
    without an answer, any other status and silence are requests that are lost.
    """
    running = asked.running
    generator = asked.load(IN_USE, asked.lengths.fault)
    time.sleep(_AFTER)
    running.process.send_signal(signal.SIGTERM)
    begun = time.perf_counter()
    ready: list[int] = []
    exited = None
    while exited is None and time.perf_counter() - begun < _EXIT_SECONDS:
        ready.append(running.send(b"", 1.0, path=running.rival.ready, method="GET").status)
        if running.process.poll() is not None:
            exited = time.perf_counter() - begun
        time.sleep(0.02)
    found = generator.wait()
    time.sleep(_LEFT_SECONDS)
    left = len(tree.members(running.mark))
    still = running.send(asked.body(["It works."]), 2.0).status == 200 if left else False
    return {
        **found.record(),
        "lost": lost(found),
        "ready_said": readiness(ready),
        "exit_seconds": None if exited is None else round(exited, 1),
        "exit_code": running.process.poll(),
        "processes_left": left,
        "left_still_answer": still,
    }


def lost(found: Counts) -> int:
    """Requests of a run that were taken and not answered."""
    return found.broken + found.status_5xx + found.status_4xx + found.unanswered + found.cut_off


def readiness(statuses: Sequence[int]) -> str:
    """What readiness said after the signal: "503" if it turned before the end, "200" if it did not, or "nothing"."""
    said = [status for status in statuses if status]
    if not said:
        return "nothing"
    return "503" if any(status >= 500 for status in said) else "200"


def _spent(running: Running, work: Callable[[], list[Reply] | None]) -> tuple[float, list[Reply] | None]:
    """Processor time of the server from before some work until it is quiet again, without what it takes at rest."""
    at_rest = _at_rest(running)
    before, begun = tree.cpu_seconds(running.mark), time.perf_counter()
    result = work()
    for used in _quarters(running):
        if used <= _QUIET + 0.25 * at_rest or time.perf_counter() - begun > _SETTLE_SECONDS:
            break
    passed = time.perf_counter() - begun
    return max(0.0, tree.cpu_seconds(running.mark) - before - at_rest * passed), result


def _at_rest(running: Running) -> float:
    """Processor time a second with nothing to do, over one second."""
    before = tree.cpu_seconds(running.mark)
    time.sleep(1.0)
    return tree.cpu_seconds(running.mark) - before


def _quarters(running: Running) -> Iterator[float]:
    """Processor time in each quarter of a second."""
    before = tree.cpu_seconds(running.mark)
    while True:
        time.sleep(0.25)
        now = tree.cpu_seconds(running.mark)
        yield now - before
        before = now


def _all(running: Running, bodies: Sequence[bytes]) -> list[Reply]:
    """All at once, each waiting for its answer."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: running.send(body, 60.0), bodies))


def _leave(running: Running, bodies: Sequence[bytes]) -> None:
    """All at once, each leaving before its answer."""
    clients = []
    for body in bodies:
        client = socket.create_connection(("127.0.0.1", running.port))
        head = f"POST {running.rival.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        clients.append(client)
    time.sleep(LEAVE_AFTER)
    for client in clients:
        with closing(client):
            client.shutdown(socket.SHUT_RDWR)
