"""Well-behaved clients, in threads: each has a connection of its own and asks small questions at its own pace."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from benchmarks import script


@dataclass
class Crowd:
    """clients: how many. pace: seconds from one request of a client to its next, or the time that its answer takes."""

    port: int
    model: str
    clients: int = 12
    pace: float = 0.05
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> Crowd:
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def _ask(self, number: int) -> None:
        texts, turn = script.texts(), number
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=100)
        while not self._stop.is_set():
            begun = time.monotonic()
            body = json.dumps({"inputs": texts[turn % len(texts)], "model": self.model})
            turn += 7
            try:
                connection.request("POST", "/v1/classify", body, {"content-type": "application/json"})
                reply = connection.getresponse()
                reply.read()
                status = str(reply.status)
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
                connection.close()
            taken = time.monotonic() - begun
            with self._lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == "200":
                    self.seconds.append(taken)
            self._stop.wait(max(0.0, self.pace - taken))

    def summary(self) -> dict[str, Any]:
        """What became of them."""
        found = sorted(self.seconds)
        every = sum(self.statuses.values())

        def part(share: float) -> float | None:
            return round(1e3 * found[min(len(found) - 1, int(share * len(found)))], 1) if found else None

        return {
            "requests": every,
            "refused_share": round(self.statuses.get("429", 0) / max(1, every), 4),
            "statuses": dict(sorted(self.statuses.items())),
            "p50_ms": part(0.5),
            "p99_ms": part(0.99),
            "max_ms": part(1.0),
        }
