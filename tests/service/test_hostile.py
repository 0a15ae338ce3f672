"""Hostile input over a real socket: what each piece gets, and that nothing of it comes back."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.app import create_app
from service.dialects import contested
from service.dialects.huggingface import schemas as huggingface
from service.dialects.kserve import schemas as kserve
from service.dialects.native import schemas as native
from service.dialects.rerank import schemas as rerank
from service.dialects.v2 import schemas as v2
from service.errors import TooLarge
from service.http.body import decompressed
from service.settings import Settings
from tests.served import serving
from tests.service.hostile import (
    BODIES,
    BODY_BYTES,
    CHARACTERS,
    CHUNK,
    CHUNKED,
    DIALECTS,
    DOCUMENT,
    GOOD,
    H2C,
    HEAD_BYTES,
    ITEMS,
    NATIVE,
    SECONDS,
    TABLES,
    Body,
    M,
    Wire,
    get,
    post,
    written,
)
from tests.service.sockets import held_until, listening


@pytest.fixture(scope="module")
def port(artifacts: tuple[Path, Path]) -> Iterator[int]:
    """A server on a real socket, with narrow limits."""
    settings = Settings(
        artifacts=tuple(map(str, artifacts)),
        threads=1,
        max_body_bytes=BODY_BYTES,
        max_items=ITEMS,
        max_characters=CHARACTERS,
        max_body_seconds=SECONDS,
    )
    app = create_app(settings)
    bounds = {"max_head_bytes": HEAD_BYTES, "head_seconds": SECONDS, "instruments": app.state.instruments}
    with listening(app, bounds, ws="none") as (port, _):
        yield port


@dataclass(frozen=True)
class Reply:
    """A response; raw has all of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes


def exchange(port: int, send: Sequence[bytes | float], count: int, closed: bool) -> list[Reply]:
    """Send, read `count` responses, and see the connection closed, or still good for another request."""
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        stream = stack.enter_context(connection.makefile("rb"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            for step in send:
                if isinstance(step, bytes):
                    connection.sendall(step)
                    time.sleep(0.002 if len(send) > 1 else 0)
                else:
                    time.sleep(step)
        replies = [_reply(stream) for _ in range(count)]
        if closed:
            with suppress(ConnectionResetError):
                assert stream.read() == b""
        else:
            connection.sendall(get("/v2/health/live"))
            assert _reply(stream).status == 200
    return replies


def _reply(stream: Any) -> Reply:
    first = stream.readline()
    assert first.startswith(b"HTTP/1.1 "), first
    lines = [first]
    while (line := stream.readline()) not in (b"\r\n", b""):
        lines.append(line)
    headers = {name.lower(): value.strip() for name, _, value in (line.decode().partition(":") for line in lines[1:])}
    body = stream.read(int(headers["content-length"]))
    return Reply(int(first.split()[1]), headers, body, b"".join(lines) + body)


def check(port: int, send: Sequence[bytes | float], gets: tuple[int, ...], closed: bool, dialect: str) -> list[Reply]:
    """The statuses are those, errors have the dialect's shape and are short, no mark is in any, and all goes on."""
    replies = exchange(port, send, len(gets), closed)
    assert tuple(reply.status for reply in replies) == gets
    for reply in replies:
        assert M not in reply.raw
        assert reply.status < 500 or reply.status in (503, 504)
        if reply.status != 200:
            assert len(reply.raw) < 2_000
        if reply.status >= 400 and reply.headers.get("content-type") == "application/json":
            error = json.loads(reply.body)
            if dialect == "native":
                assert set(error["error"]) == {"code", "message"}
            else:
                assert set(error) == ({"error", "error_type"} if dialect == "TEI" else {"error"})
                assert isinstance(error["error"], str)
        if reply.status == 405:
            assert reply.headers["allow"]
        assert "set-cookie" not in reply.headers
    (alive,) = exchange(port, (get("/health"),), 1, False)
    assert alive.status == 200
    return replies


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.what)
def test_a_hostile_body_gets_what_the_table_says(port: int, case: Body, dialect: str) -> None:
    """In every dialect."""
    gets = case.gets[list(DIALECTS).index(dialect)]
    check(port, (case.request(dialect),), (gets,), False, dialect)


@pytest.mark.parametrize("case", [case for table in TABLES.values() for case in table], ids=lambda case: case.what)
def test_hostile_bytes_get_what_the_table_says(port: int, case: Wire) -> None:
    """On the wire, in options, in binary tensors."""
    dialect = "v2" if case.path.startswith("/v2") else "Hugging Face" if case.path.startswith("/models") else "native"
    replies = check(port, case.send, case.gets, case.closed, dialect)
    given = replies[0].headers.get("x-request-id")
    assert (given == "a.b-c:1/2+3=4") == case.what.startswith("a valid `X-Request-Id`")


def test_an_offer_of_another_protocol_is_declined_wherever_its_head_is_cut(port: int) -> None:
    """Also in small pieces, and behind an answered request on the same connection."""
    asked = post(NATIVE, GOOD, *H2C)
    first = asked.index(b"\r\nupgrade")
    cuts = [(asked[: first + at], asked[first + at :]) for at in range(12)]
    end = asked.index(b"\r\n\r\n")
    cuts += [(asked[: end + at], asked[end + at :]) for at in range(5)]
    for pieces in (*cuts, [asked[at : at + 5] for at in range(0, len(asked), 5)]):
        replies = exchange(port, [get("/health"), 0.05, *pieces], 2, False)
        assert [reply.status for reply in replies] == [200, 200], pieces


LIKE_AN_OFFER = b"a film\r\n\r\n a\r\nupgrade: b\r\nupgrade: c"


@pytest.mark.parametrize(
    "before",
    [
        get("/health"),
        get("/health", *H2C),
        post(NATIVE, GOOD),
        post(NATIVE, GOOD, *H2C),
        CHUNKED + b"\r\n" + CHUNK + b"0\r\n\r\n",
        CHUNKED + b"\r\n" + CHUNK + b"0\r\nx-a: b\r\n\r\n",
        post(NATIVE, LIKE_AN_OFFER),
        b"\r\n\r\n" + get("/health"),
    ],
    ids=["GET", "offer", "body", "offer with a body", "chunks", "trailers", "body like an offer", "empty lines"],
)
@pytest.mark.parametrize("offer", [get("/health", *H2C), post(NATIVE, GOOD, *H2C)], ids=["GET", "with a body"])
def test_an_offer_behind_another_request_is_declined_wherever_both_are_cut(
    port: int, before: bytes, offer: bytes
) -> None:
    """Also where both come in one piece, and others follow."""
    every = before + offer * 2 + get("/health")
    last = every.rindex(b"\r\nupgrade")
    cuts = {0, len(before) // 2, *range(len(before) - 4, len(before) + 4), *range(last, last + 12)}
    first = 400 if LIKE_AN_OFFER in before else 200
    for cut in sorted(cuts):
        replies = exchange(port, [piece for piece in (every[:cut], every[cut:]) if piece], 4, False)
        assert [reply.status for reply in replies] == [first, 200, 200, 200], cut


def test_a_text_that_looks_like_an_offer_is_read_as_it_is(port: int) -> None:
    """However the end of the head before it is cut: the answer is that of one piece."""
    text = b"a film\r\nUpgrade: good\r\n\r\nthe end"
    tensor = struct.pack("<I", len(text)) + text
    given = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tensor)}}
    header = json.dumps({"inputs": [given]}).encode()
    asked = post("/v2/models/mood/infer", header + tensor, f"inference-header-content-length: {len(header)}")
    end = asked.index(b"\r\n\r\n")
    (whole,) = exchange(port, (asked,), 1, False)
    assert whole.status == 200
    for at in range(5):
        (cut,) = exchange(port, (asked[: end + at], asked[end + at :]), 1, False)
        assert cut.body == whole.body, at


def test_who_asks_and_never_reads_is_cut_off(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Answers pile up, reading stops, and after a while the connection ends and frees what it held, without a word."""
    body = post("/openapi.json", b" " * 50_000).replace(b"POST", b"GET")
    gone = (BrokenPipeError, ConnectionResetError)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, pytest.raises(gone):
        connection.sendall(body * 2_000)
    (metrics,) = exchange(port, (get("/metrics", "accept-encoding: identity"),), 1, False)
    assert b"pgb_open_requests 1.0" in metrics.body
    assert b'pgb_connections_refused_total{reason="unread"}' in metrics.body
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("reason", "send"),
    [
        ("malformed", (b"\x00" + M + b"\r\n\r\n",)),
        ("head", (get("/" + "a" * HEAD_BYTES),)),
        ("slow", (get("/")[:-4], SECONDS)),
        ("pipelined", (get("/health") * 33,)),
    ],
)
def test_a_refused_connection_is_counted_once(
    port: int, reason: str, send: Sequence[bytes | float], caplog: pytest.LogCaptureFixture
) -> None:
    """By its reason, and the log says nothing of it at its usual level."""
    caplog.set_level(logging.INFO)
    before = _refused(port)
    exchange(port, send, 33 if reason == "pipelined" else 1, True)
    assert {name: count - before.get(name, 0) for name, count in _refused(port).items()} == {
        **dict.fromkeys(before, 0.0),
        reason: 1.0,
    }
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def _refused(port: int) -> dict[str, float]:
    """Refused connections by reason."""
    (metrics,) = exchange(port, (get("/metrics", "accept-encoding: identity"),), 1, False)
    found = re.findall(r'pgb_connections_refused_total\{reason="(\w+)"\} (\S+)', metrics.body.decode())
    return {reason: float(count) for reason, count in found}


def test_a_body_that_comes_after_its_refusal_leaves_a_clock(port: int) -> None:
    """The connection is closed once it has asked nothing for a while, and gets no answer that it did not ask for."""
    head = b"POST /v1/classify HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(b" " * 900_000)
            assert connection.recv(4096) == b""


def test_a_connection_takes_any_number_of_requests_one_after_the_other(port: int) -> None:
    """More than may wait at once, and more bytes of heads than one may have."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, connection.makefile("rb") as stream:
        for _ in range(70):
            connection.sendall(get("/v2/health/live"))
            assert _reply(stream).status == 200


def test_a_connection_is_not_idle_while_a_request_is_answered() -> None:
    """However long it was before, and however long that takes."""
    go = threading.Event()
    go.set()
    with (
        listening(held_until(go), {}, lifespan="off", timeout_keep_alive=1) as (port, _),
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(get("/"))
        assert _reply(stream).status == 200
        go.clear()
        connection.sendall(get("/"))
        time.sleep(1.5)
        go.set()
        assert _reply(stream).status == 200


def test_a_head_that_comes_while_a_request_is_answered_has_as_long_as_that() -> None:
    """Its own time begins with the answer."""
    go = threading.Event()
    with listening(held_until(go), {"head_seconds": 0.5}, lifespan="off") as (port, _), ExitStack() as stack:
        stack.callback(go.set)
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        stream = stack.enter_context(connection.makefile("rb"))
        connection.sendall(get("/") + get("/")[:-2])
        time.sleep(1.2)
        connection.sendall(get("/")[-2:])
        time.sleep(0.1)
        go.set()
        assert [_reply(stream).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_request_hears_that_its_client_left_though_another_came_behind_it(at_once: bool) -> None:
    """Together with it or later. It may be running a model for nobody."""
    begun, told = threading.Event(), threading.Event()

    async def waiting(scope: object, receive: Any, send: object) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    with listening(waiting, {}, lifespan="off", timeout_graceful_shutdown=1) as (port, _):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(get("/") * (1 + at_once))
            assert begun.wait(20)
            connection.sendall(b"" if at_once else get("/"))
            time.sleep(0.1)
        assert told.wait(5)


def test_who_sends_on_after_a_refusal_is_not_read_for_ever() -> None:
    """While a request before it is answered."""
    go = threading.Event()
    with listening(held_until(go), {}, lifespan="off") as (port, _), ExitStack() as stack:
        stack.callback(go.set)
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=1))
        connection.sendall(get("/") + b"\x00")
        with pytest.raises(TimeoutError):
            connection.sendall(bytes(1 << 26))


def test_who_waits_for_100_is_told_to_go_on_whatever_blanks_stand_there(port: int) -> None:
    """Behind the word and before it; then the body is read."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(post(NATIVE, b"", "expect: \t100-continue \t", length=str(len(GOOD))))
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(GOOD)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_idle_connections_make_room(artifacts: tuple[Path, Path]) -> None:
    """Of more connections than there may be, the longest idle go; whoever asks is answered."""
    with serving(artifacts[0], "--max-connections", "20", "--threads", "1") as (url, _), ExitStack() as stack:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        asking = stack.enter_context(socket.create_connection(address, 20))
        asking.sendall(post(NATIVE, GOOD)[:-1])
        idle = [stack.enter_context(socket.create_connection(address, 20)) for _ in range(60)]
        assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 200
        asking.sendall(GOOD[-1:])
        assert asking.recv(4096).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""


def crowd(form: str, size: int) -> Any:
    """Very much of what is wrong."""
    return {
        "numbers": {"inputs": [7] * size},
        "objects": {"inputs": [{}] * size},
        "lists": {"inputs": [[]] * size, "outputs": [7] * size},
        "fields": {f"{n:x}": 0 for n in range(size)},
        "fields of an input": {"inputs": {f"{n:x}": 0 for n in range(size)}},
        "dimensions": {"inputs": [{"name": "a", "datatype": "BYTES", "shape": [""] * size}]},
    }[form]


@pytest.mark.parametrize("form", ["numbers", "objects", "lists", "fields", "fields of an input", "dimensions"])
@pytest.mark.parametrize(
    "schema",
    [
        native.ClassifyRequest,
        native.AnswerRequest,
        huggingface.Asked,
        huggingface.Request,
        contested.PredictRequest,
        contested.RerankRequest,
        rerank.RerankDocumentsRequest,
        v2.InferRequest,
        kserve.InstancesRequest,
    ],
    ids=lambda schema: f"{schema.__module__}.{schema.__name__}",
)
def test_what_bad_input_costs_does_not_grow_with_it(schema: type[BaseModel], form: str) -> None:
    """A thousand times as much that is wrong is described in as few errors."""
    counts = []
    for size in (20, 20_000):
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(schema).validate_python(crowd(form, size))
        counts.append(caught.value.error_count())
    assert counts[0] == counts[1] < 12


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_put_down_before_it_goes_off(pack: Callable[[bytes], bytes]) -> None:
    """Decompressing stops at the limit; what would follow is never made."""
    bomb = pack(bytes(1 << 24))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decompressed(bomb, BODY_BYTES)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_document_shows_these_tables() -> None:
    """docs/security.md cannot drift."""
    document = DOCUMENT.read_text("utf-8")
    assert document == written(document), "run python -m tests.service.hostile"
