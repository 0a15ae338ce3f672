"""What a process holds after many large requests, whatever came of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.served import serving

_SIZE = 900_000
_TIMES = 250
_ROOM_MB = 100


def most_mb(pid: int) -> float:
    """Resident at most so far."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"inputs": "' + b"a" * _SIZE, 400),
        (json.dumps({"inputs": 7, "x": "a" * _SIZE}).encode(), 422),
        (json.dumps({"inputs": "a" * _SIZE}).encode(), 413),
        (json.dumps({"inputs": ["the film " * 10] * 9000}).encode(), 413),
        (json.dumps({"inputs": "the film", "model": "n" * _SIZE}).encode(), 404),
    ],
    ids=["malformed", "invalid", "too long", "too many", "unknown model"],
)
def test_bodies_of_failed_requests_do_not_pile_up(body: bytes, status: int, artifacts: tuple[Path, Path]) -> None:
    """Each by itself is within the limits; together they are more than twice what the process may grow by."""
    with serving(str(artifacts[0]), "--threads", "1") as (url, process), httpx.Client() as client:
        assert client.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 200
        before = most_mb(process.pid)
        for _ in range(_TIMES):
            reply = client.post(f"{url}/v1/classify", content=body, headers={"content-type": "application/json"})
            assert reply.status_code == status
        assert _TIMES * len(body) / 1e6 > 2 * _ROOM_MB
        assert most_mb(process.pid) - before < _ROOM_MB
