"""An application under a path that a server in front of it adds, such as Ray's `route_prefix`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.errors import Overloaded
from service.http.paths import path_of
from service.settings import Settings

# A path of each dialect that runs a model, with a body that is an error, and the keys of its errors' bodies.
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["the film"]}
ASKED: list[tuple[str, Any, int]] = [
    ("/v1/classify", {"inputs": "a", "top_k": 0}, 422),
    ("/models/none", {"inputs": "a"}, 404),
    ("/", {"inputs": ["a"] * 9}, 413),
    ("/predict", {"inputs": [["a"]] * 9}, 422),
    ("/v1/rerank", {"query": "a", "documents": []}, 422),
    ("/v2/models/none/infer", {"inputs": [TENSOR]}, 404),
    ("/v1/models/none:predict", {"instances": ["a"]}, 404),
    ("/invocations", {"inputs": "a", "parameters": {"top_k": -1}}, 422),
    ("/v2/nothing", {}, 404),
    ("/predict%0A", {"inputs": "a"}, 404),
]


@pytest.mark.parametrize(
    ("path", "prefix", "below"),
    [
        ("/ml/v2", "/ml", "/v2"),
        ("/ml/ml/v2", "/ml", "/ml/v2"),
        ("/ml", "/ml", ""),
        ("/mlv2", "/ml", "/mlv2"),
        ("/v2", "/ml", "/v2"),
        ("/v2", "", "/v2"),
    ],
)
def test_a_path_has_no_prefix(path: str, prefix: str, below: str) -> None:
    """Only a whole part of it counts as one."""
    assert path_of({"path": path, "root_path": prefix}) == below
    assert path_of({"path": "/v2"}) == "/v2"


def both(
    artifact: Path, ask: Callable[[httpx.AsyncClient, str], Awaitable[Any]], change: Callable[[Any], None] | None = None
) -> tuple[Any, Any]:
    """What an application gives at its own paths, and what another one gives under a prefix."""

    async def found(prefix: str) -> Any:
        app = create_app(Settings(artifacts=(str(artifact),), threads=1, max_items=8))
        transport = httpx.ASGITransport(app, root_path=prefix)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as c:
            if change is not None:
                change(app)
            return await ask(c, prefix)

    return asyncio.run(found("")), asyncio.run(found("/ml"))


async def told(client: httpx.AsyncClient, prefix: str) -> list[tuple[int, object]]:
    """Status and body of each error."""
    replies = [await client.post(f"{prefix}{path}", json=body) for path, body, _ in ASKED]
    return [(reply.status_code, reply.json()) for reply in replies]


def test_errors_are_those_of_the_dialect(artifacts: tuple[Path, Path]) -> None:
    """In their status and shape, also where there is no route."""
    own, prefixed = both(artifacts[0], told)
    assert prefixed == own
    assert [status for status, _ in own] == [status for *_, status in ASKED]
    assert len({tuple(body) for _, body in own}) > 2


def test_requests_are_refused_before_their_bodies_are_read(artifacts: tuple[Path, Path]) -> None:
    """Where the path runs a model."""

    def full(app: Any) -> None:
        def refuse(*_: object) -> None:
            raise Overloaded("too much", 3.0)

        app.state.engine.registry.check = refuse

    own, prefixed = both(artifacts[0], told, full)
    assert prefixed == own
    assert [status for status, _ in own] == [429] * (len(ASKED) - 2) + [404] * 2


async def counted(client: httpx.AsyncClient, prefix: str) -> set[tuple[str, str, str]]:
    """Dialect, model and status of the requests that were counted."""
    for path in ("/health", "/v2/health/ready", "/models/mood/health", "/v2", "/info"):
        assert (await client.get(prefix + path)).status_code == 200
    await client.post(f"{prefix}/v2/models/mood/infer", json={"inputs": [TENSOR]})
    text = (await client.get(f"{prefix}/metrics")).text
    return set(re.findall(r'pgb_requests_total\{dialect="(\w+)",model="(\w*)",status="(\d+)"\}', text))


def test_requests_are_counted_as_their_dialect_s(artifacts: tuple[Path, Path]) -> None:
    """And probes as probes."""
    own, prefixed = both(artifacts[0], counted)
    assert prefixed == own
    assert {dialect for dialect, *_ in own} >= {"probe", "v2", "tei"}
