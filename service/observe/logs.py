"""The log: one line of JSON for each request and each event, on standard error.

No request waits for the reader of the log: a thread writes the lines that have gathered. If the reader stops and more
than `_MOST_LINES` gather, further lines are dropped and counted.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from typing import TextIO

from service.observe.metrics import Call

LOGGER = logging.getLogger("pgb")
_MOST_LINES = 10_000
# What libraries log, from this level on. OpenTelemetry's warnings repeat the headers of clients.
_LIBRARIES = {"uvicorn": "WARNING", "asyncio": "WARNING", "opentelemetry": "ERROR"}
_GATHER_SECONDS = 0.05


class JsonFormatter(logging.Formatter):
    """Time, level, message, and whatever stands under `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Writer(logging.Handler):
    """Formats a record on the caller's thread, and writes it on a thread of its own."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.dropped = 0
        self._stream = stream
        self._lines: deque[str] = deque()
        self._some = threading.Event()
        self._none = threading.Event()
        self._none.set()
        self._thread = threading.Thread(target=self._write, name="pgb-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never blocks."""
        if len(self._lines) >= _MOST_LINES:
            self.dropped += 1
            return
        self._lines.append(self.format(record))
        self._none.clear()
        self._some.set()

    def drained(self, seconds: float) -> bool:
        """Wait until everything is written, at most that long."""
        return self._none.wait(seconds)

    def _write(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            time.sleep(_GATHER_SECONDS)
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads any more
                self.dropped += len(lines)
            if not self._lines:
                self._none.set()


def set_up(level: str) -> None:
    """Log as JSON from `level` on. Libraries use the same writer; by themselves they would write on the thread that
    serves."""
    handler = Writer(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.setLevel(level.upper())
    for name, lowest in (("pgb", level.upper()), *_LIBRARIES.items()):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(lowest)


def drain(seconds: float) -> None:
    """Wait until everything that was logged is written, at most that long."""
    for handler in LOGGER.handlers:
        if isinstance(handler, Writer):
            handler.drained(seconds)


def lost() -> int:
    """Lines that were not written since the log was set up."""
    return sum(handler.dropped for handler in LOGGER.handlers if isinstance(handler, Writer))


def event(message: str, **fields: object) -> None:
    """Something that happened to the service or a model."""
    LOGGER.info(message, extra={"fields": fields})


def warning(message: str, **fields: object) -> None:
    """Something that may not be what an operator meant."""
    LOGGER.warning(message, extra={"fields": fields})


def problem(message: str, **fields: object) -> None:
    """Something that an operator should look at."""
    LOGGER.error(message, extra={"fields": fields})


def request(call: Call, method: str, route: str, status: int, probe: bool) -> None:
    """A request that ended. `route` is the pattern, not the path that was sent. Probes are logged at level debug."""
    level = logging.DEBUG if probe else logging.INFO
    if not LOGGER.isEnabledFor(level):
        return
    fields: dict[str, object] = {"request_id": call.id, "dialect": call.dialect, "status": status}
    if call.owner:
        fields["key"] = call.owner
    if call.model:
        fields |= {"model": call.model, "version": call.version, "inputs": call.inputs}
        fields |= {"windows": call.windows, "tokens": call.tokens}
    if call.answered:
        fields |= {"batch_size": call.batch_size, "timings_ms": vars(call.timings())}
    LOGGER.log(level, "%s %s", method, route, extra={"fields": fields})
