"""One line of JSON for each request and each event, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time

from service.metrics import Call

LOGGER = logging.getLogger("pgb")
_QUIET = ("/health", "/ping", "/metrics", "/v2/health/live", "/v2/health/ready")


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


def set_up(level: str) -> None:
    """Log as JSON from `level` on, the server's own messages from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name, lowest in (("pgb", level.upper()), ("uvicorn", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(lowest)


def event(message: str, **fields: object) -> None:
    """Something that happened to the service or a model."""
    LOGGER.info(message, extra={"fields": fields})


def request(call: Call, method: str, route: str, status: int) -> None:
    """A request that ended. `route` is the pattern, not the path that was sent."""
    level = logging.DEBUG if route in _QUIET else logging.INFO
    if not LOGGER.isEnabledFor(level):
        return
    fields: dict[str, object] = {"request_id": call.id, "dialect": call.dialect, "status": status}
    if call.owner:
        fields["key"] = call.owner
    if call.model:
        fields |= {"model": call.model, "version": call.version, "inputs": call.inputs, "tokens": call.tokens}
    if call.answered:
        fields |= {"batch_size": call.batch_size, "timings_ms": vars(call.timings())}
    LOGGER.log(level, "%s %s", method, route, extra={"fields": fields})
