"""Hostile input over a real socket: what each piece gets, and that nothing of it comes back.

The tables below are the ones in docs/security.md; `python -m tests.service.test_hostile` writes them there.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import itertools
import json
import logging
import os
import re
import shutil
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
import onnx
import onnxruntime
import pytest
import uvicorn
from fastapi.testclient import TestClient
from pydantic import BaseModel, TypeAdapter, ValidationError

from pgb_core.artifact import MANIFEST, MODEL
from service.app import create_app
from service.dialects import DIALECTS as SPOKEN
from service.dialects import contested
from service.dialects.huggingface import schemas as huggingface
from service.dialects.kserve import schemas as kserve
from service.dialects.native import schemas as native
from service.dialects.rerank import schemas as rerank
from service.dialects.v2 import schemas as v2
from service.errors import LoadFailed, TooLarge
from service.http.arrival import decompressed
from service.http.failures import STATUS, status_of
from service.http.protocol import BoundedProtocol
from service.keys import Keys, make_key, read_keys
from service.settings import Settings
from tests.served import serving
from tests.service.test_worst_minutes import running

MARK = "zq7marker7qz"
DIALECTS = {
    "native": "/v1/classify",
    "Hugging Face": "/",
    "TEI": "/predict",
    "v2": "/v2/models/mood/infer",
}
BODY_BYTES, HEAD_BYTES, ITEMS, CHARACTERS, SECONDS = 60_000, 2048, 8, 5_000, 2.0
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "security.md"
JSON = "content-type: application/json"


def post(path: str, body: bytes, *headers: str, kind: str = JSON, length: str | None = None) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: a", f"content-length: {len(body) if length is None else length}"]
    return "\r\n".join((*lines, *([kind] if kind else ()), *headers, "", "")).encode("latin-1") + body


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join((f"{method} {path} HTTP/{version}", "host: a", *headers, "", "")).encode("latin-1")


def asked(value: str, dialect: str, count: int = 1) -> bytes:
    """A request for the labels of one input, or of a JSON list's `count`, given as it is written in JSON."""
    if dialect != "v2":
        return f'{{"inputs": {value}}}'.encode("utf-8", "surrogatepass")
    data = value if count != 1 else f"[{value}]"
    tensor = f'{{"name": "text", "shape": [{count}], "datatype": "BYTES", "data": {data}}}'
    return f'{{"inputs": [{tensor}]}}'.encode("utf-8", "surrogatepass")


def word(text: str, dialect: str) -> bytes:
    """A text, written without escapes."""
    return asked(json.dumps(text, ensure_ascii=False), dialect)


def halves(whole: bytes, after: bytes) -> tuple[bytes, bytes]:
    """Two pieces, the first of which ends there."""
    before, found, rest = whole.partition(after)
    return before + found, rest


def cut(pieces: bytes, size: int) -> tuple[bytes, ...]:
    """Pieces of a size."""
    return tuple(pieces[at : at + size] for at in range(0, len(pieces), size))


# What was sent, the status that each dialect gives, and the body by dialect. Everywhere the mark is in it.
FOUR = (400, 400, 400, 400)
FINE = (200, 200, 200, 200)
WRONG = (422, 422, 422, 400)
LARGE = (413, 413, 422, 413)
MANY = (413, 413, 422, 400)


@dataclass(frozen=True)
class Body:
    """One body for all four dialects."""

    what: str
    gets: tuple[int, int, int, int]
    make: Any
    headers: tuple[str, ...] = ()
    kind: str = JSON

    def request(self, dialect: str) -> bytes:
        """As it goes over the wire."""
        made = self.make(dialect) if callable(self.make) else self.make
        return post(DIALECTS[dialect], made, *self.headers, kind=self.kind)


def _text(what: str, text: str) -> Body:
    return Body(what, FINE, lambda dialect: word(text, dialect))


def _value(what: str, gets: tuple[int, int, int, int], value: str, count: int = 1) -> Body:
    return Body(what, gets, lambda dialect: asked(value, dialect, count))


def _packed(what: str, gets: tuple[int, int, int, int], pack: Any, encoding: str = "gzip") -> Body:
    return Body(what, gets, lambda dialect: pack(word(MARK, dialect)), (f"content-encoding: {encoding}",))


M = MARK.encode()
BODIES = [
    Body("nothing", WRONG, b""),
    Body("spaces", FOUR, b"   "),
    Body("JSON cut short", FOUR, lambda d: word(MARK, d)[:-2]),
    Body("JSON and something after it", FOUR, lambda d: word(MARK, d) + M),
    Body("JSON with single quotes", FOUR, lambda d: word(MARK, d).replace(b'"', b"'")),
    Body("`null`", WRONG, b"null"),
    Body("a bare string", WRONG, f'"{MARK}"'.encode()),
    Body("a bare list", WRONG, f'["{MARK}"]'.encode()),
    Body("bytes that are not UTF-8", FOUR, lambda d: word(MARK, d).replace(M, M + b"\xff")),
    Body("an overlong UTF-8 form", FOUR, lambda d: word(MARK, d).replace(M, M + b"\xc0\x80")),
    Body("half a surrogate pair, as raw bytes", FOUR, lambda d: word(MARK + "\ud800", d)),
    _value("half a surrogate pair, escaped", FOUR, f'"{MARK} \\ud800"'),
    _value("the other half, escaped", FOUR, f'"{MARK} \\udc00"'),
    _value("a surrogate pair the wrong way round", FOUR, f'"{MARK} \\udc00\\ud800"'),
    Body("UTF-16 without a byte order mark", FOUR, lambda d: word(MARK, d).decode().encode("utf-16-le")),
    Body("UTF-16 with one", FOUR, lambda d: word(MARK, d).decode().encode("utf-16")),
    Body("UTF-32", FOUR, lambda d: word(MARK, d).decode().encode("utf-32")),
    Body("UTF-8 behind a byte order mark", FOUR, lambda d: b"\xef\xbb\xbf" + word(MARK, d)),
    Body("a raw NUL in a text", FOUR, lambda d: word(MARK, d).replace(M, M + b"\x00")),
    _value("an escaped NUL in a text", FINE, f'"{MARK} \\u0000"'),
    _value("`NaN` for a text", FOUR, "NaN"),
    _value("`-Infinity` for a text", FOUR, "-Infinity"),
    _value("`1e999` for a text", WRONG, "1e999"),
    _value("an integer of 5,000 digits", FOUR, "9" * 5000),
    _value("`true` for a text", WRONG, "true"),
    _value("an object for a text", WRONG, f'{{"{MARK}": "{MARK}"}}'),
    Body("20,000 brackets, never closed", MANY, b"[" * 20_000),
    _value("20,000 brackets, closed", MANY, "[" * 20_000 + "]" * 20_000),
    Body("300 brackets, never closed", FOUR, b"[" * 300),
    Body("objects 300 levels deep", FOUR, b'{"a":' * 300 + b"1" + b"}" * 300),
    Body("a key twice: the last one counts", FINE, lambda d: b'{"inputs": 7, ' + word(MARK, d)[1:]),
    Body("an unknown field", (422, 422, 200, 200), lambda d: b'{"%s": 1, ' % M + word(MARK, d)[1:]),
    Body(
        "5,000 unknown fields",
        MANY,
        lambda d: b"{" + b"".join(b'"%x": 1, ' % n for n in range(5_000)) + word(MARK, d)[1:],
    ),
    _value("10,000 numbers for texts", MANY, f"[{'7,' * 9_999}7]", 10_000),
    _value("10,000 empty objects for texts", MANY, f"[{'{},' * 9_999}{{}}]", 10_000),
    _value("an empty text", (422, 200, 400, 200), '""'),
    _value("an empty list", (422, 422, 400, 400), "[]", 0),
    Body(
        "more texts than the limit",
        (413, 413, 422, 400),
        lambda d: asked(json.dumps([MARK if d == "v2" else [MARK] if d == "TEI" else MARK] * 9), d, 9),
    ),
    _value("a text over the limit", (413, 413, 422, 400), f'"{MARK * 500}"'),
    _value("a body over the limit", LARGE, f'"{MARK * 6_000}"'),
    Body("JSON called `text/plain`", (415, 415, 415, 200), lambda d: word(MARK, d), kind="content-type: text/plain"),
    Body(
        "JSON called a form",
        (415, 415, 415, 200),
        lambda d: word(MARK, d),
        kind="content-type: application/x-www-form-urlencoded",
    ),
    Body("an unknown content type", (415, 415, 415, 200), lambda d: word(MARK, d), kind=f"content-type: {MARK}"),
    Body("JSON without a content type", FINE, lambda d: word(MARK, d), kind=""),
    Body("no JSON, without a content type", FOUR, M, kind=""),
    Body("another charset declared", FINE, lambda d: word("the film", d), kind=f"{JSON}; charset={MARK}"),
    _packed("valid gzip", FINE, gzip.compress),
    _packed("valid deflate", FINE, zlib.compress, "deflate"),
    _packed("an unknown content encoding", FOUR, gzip.compress, MARK),
    _packed("gzip in gzip", FOUR, lambda body: gzip.compress(gzip.compress(body)), "gzip, gzip"),
    _packed("plain JSON called gzip", FOUR, bytes),
    _packed("gzip of nothing at all", FOUR, lambda _: b""),
    _packed("gzip cut short", FOUR, lambda body: gzip.compress(body)[:-4]),
    _packed("gzip with a wrong checksum", FOUR, lambda body: gzip.compress(body)[:-8] + b"zzzz" + b"\0" * 4),
    _packed("gzip and something after it", FOUR, lambda body: gzip.compress(body) + M),
    _packed("two gzip members", FOUR, lambda body: gzip.compress(body) * 2),
    _packed("a gzip bomb, 16 MiB in 16 KiB", LARGE, lambda _: gzip.compress(bytes(1 << 24))),
    _packed("a deflate bomb", LARGE, lambda _: zlib.compress(bytes(1 << 24)), "deflate"),
    _text("1,000 combining accents", "e" + "\u0301" * 1_000),
    _text("right-to-left overrides", f"\u202e{MARK}\u202d\u2066\u200f"),
    _text("joined emoji and flags", "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪" * 20),
    _text("characters beyond the first plane", "𝒳𐍈\U0010ffff"),
    _text("characters that are none: U+FFFF, U+FDD0", "\uffff\ufdd0\ufffe"),
    _text("a byte order mark within a text", f"{MARK}\ufeff{MARK}"),
    _text("zero-width characters alone", "\u200b\u200d\ufeff"),
    _text("control characters, escaped", "\u0001\u001b[31m\u007f\u0085\u2028"),
]


@dataclass(frozen=True)
class Wire:
    """One exchange. send: bytes, and pauses in seconds between them. gets: statuses in order."""

    what: str
    gets: tuple[int, ...]
    send: tuple[bytes | float, ...]
    closed: bool = False
    path: str = ""

    def shown(self) -> str:
        """For the table."""
        runs = [(status, len(list(run))) for status, run in itertools.groupby(self.gets)]
        each = [f"{count} times {status}" if count > 2 else ", ".join([str(status)] * count) for status, count in runs]
        return ", ".join(each) + (", closed" if self.closed else "")


GOOD = word("the film", "native")
NATIVE = "/v1/classify"
CHUNKED = f"POST {NATIVE} HTTP/1.1\r\nhost: a\r\n{JSON}\r\ntransfer-encoding: chunked\r\n".encode()
CHUNK = b"%x\r\n%s\r\n" % (len(GOOD), GOOD)
H2C = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__")
HTTP = [
    Wire("random bytes", (400,), (b"\x00\x01\x02" + M + b"\r\n\r\n",), True),
    Wire("a TLS greeting", (400,), (bytes.fromhex("1603010200010001fc0303") + M,), True),
    Wire("the preface of HTTP/2", (400,), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), True),
    Wire("HTTP/1.0", (200,), (get("/health", version="1.0"),), True),
    Wire("a request line with HTTP/3.0", (400,), (get("/health", version="3.0"),), True),
    Wire("lines that end in LF alone", (400,), (get(f"/{MARK}").replace(b"\r", b""),), True),
    Wire("an unknown method", (400,), (get("/health", method=MARK.upper()),), True),
    Wire("CONNECT", (400,), (get(f"{MARK}:443", method="CONNECT"),), True),
    Wire("a known method at the wrong path", (405,), (get(NATIVE, f"x-a: {MARK}", method="DELETE"),)),
    Wire("TRACE, which would repeat the request", (405,), (get(NATIVE, f"x-a: {MARK}", method="TRACE"),)),
    Wire("OPTIONS \\*", (404,), (get("*", method="OPTIONS"),)),
    Wire("an unknown path", (404,), (get(f"/{MARK}"),)),
    Wire("one slash too many", (404,), (get(f"/v1/models/?{MARK}", f"x-forwarded-host: {MARK}"),)),
    Wire("bytes in a path that are not ASCII", (400,), (get(f"/{MARK}\xff\xfe"),), True),
    Wire("a path that climbs", (404,), (get(f"/../../etc/{MARK}"),)),
    Wire("a path that climbs, escaped", (404,), (get(f"/ui/..%2f..%2f{MARK}"),)),
    Wire("a query string with unusual characters", (200,), (get(f"/health?{MARK}=%ff%00&&=;"),)),
    Wire("an absolute URL of another host", (200,), (get(f"http://{MARK}/health"),)),
    Wire("a `Host` of another site", (200,), (get("/health").replace(b"host: a", b"host: " + M),)),
    Wire("no Host", (400,), (get("/health").replace(b"host: a\r\n", b""),), True),
    Wire("two Hosts", (400,), (get("/health", f"host: {MARK}"),), True),
    Wire("no Host in HTTP/1.0", (200,), (get("/health").replace(b"host: a\r\n", b"").replace(b"/1.1", b"/1.0"),), True),
    Wire("200 headers", (431,), (get("/health", *["a:"] * 200),), True),
    Wire(
        "40 requests in one piece: 32 answers and one refusal",
        (*[200] * 32, 429),
        (get("/health") * 40,),
        True,
    ),
    Wire("a head over the limit", (431,), (get("/health", *(f"x-{n}: {MARK * 10}" for n in range(20))),), True),
    Wire("a path over the limit", (431,), (get("/" + MARK * 200),), True),
    Wire("a head over the limit, in pieces", (431,), cut(get("/", f"x: {MARK * 300}")[:2_100], 700), True),
    Wire("half a head, then nothing", (408,), (get(f"/{MARK}")[:-4], SECONDS), True),
    Wire("only line ends, then nothing", (408,), (b"\r\n" * 9, SECONDS), True),
    Wire("half a body, then nothing, then single bytes", (408,), (post(NATIVE, M, length="99"), 4.0, b"a"), True),
    Wire("a length of 2^62 and a byte now and then", (413,), (post(NATIVE, M, length=str(1 << 62)), 4.0, b"a"), True),
    Wire("a length below zero", (400,), (post(NATIVE, GOOD, length="-5"),), True),
    Wire("a length of 30 digits", (400,), (post(NATIVE, GOOD, length="9" * 30),), True),
    Wire("a length that is no number", (400,), (post(NATIVE, GOOD, length=MARK),), True),
    Wire("a length in superscript", (400,), (post(NATIVE, GOOD, length="\xb2"),), True),
    Wire("two lengths", (400,), (post(NATIVE, GOOD, "content-length: 5"),), True),
    Wire("a length shorter than the body", (400, 400), (post(NATIVE, GOOD, length="5"),), True),
    Wire("a length and chunks", (400,), (CHUNKED + b"content-length: 5\r\n\r\n" + CHUNK + b"0\r\n\r\n",), True),
    Wire("an unknown transfer encoding", (400,), (post(NATIVE, GOOD, f"transfer-encoding: {MARK}"),), True),
    Wire("valid chunks", (200,), (CHUNKED + b"\r\n" + CHUNK, b"0\r\n\r\n")),
    Wire("chunks of a byte", (200,), (CHUNKED + b"\r\n", *(b"1\r\n%c\r\n" % c for c in GOOD), b"0\r\n\r\n")),
    Wire("a chunk whose size is no number", (400,), (CHUNKED + b"\r\n" + M + b"\r\n",), True),
    Wire("a chunk of 2^80 bytes", (400,), (CHUNKED + b"\r\n" + b"f" * 20 + b"\r\n",), True),
    Wire(
        "chunks that are together over the limit",
        (413,),
        (CHUNKED + b"\r\n", *(b"8000\r\n%s\r\n" % (M * 2731)[:32768],) * 2, b"0\r\n\r\n"),
    ),
    Wire("trailers", (200,), (CHUNKED + b"\r\n" + CHUNK + b"0\r\nx-request-id: " + M + b"\r\n\r\n",)),
    Wire(
        "trailers without end",
        (431,),
        (CHUNKED + b"\r\n" + CHUNK + b"0\r\n", 0.1, *(b"x: " + M * 70 + b"\r\n",) * 3),
        True,
    ),
    Wire("two requests in one piece", (200, 200), (post(NATIVE, GOOD) * 2,)),
    Wire("a valid request, and an invalid one in the same piece", (200, 400), (post(NATIVE, GOOD) + post(NATIVE, M),)),
    Wire("a valid request, and random bytes in the same piece", (200, 400), (post(NATIVE, GOOD) + b"\x00" + M,), True),
    Wire("an offer of HTTP/2, with a body", (200,), (post(NATIVE, GOOD, *H2C),)),
    Wire("an offer of HTTP/2, with a body that looks like a request", (400,), (post(NATIVE, get(f"/{MARK}"), *H2C),)),
    Wire("an offer split over two pieces", (400,), halves(post(NATIVE, GOOD, *H2C), b"upgr"), True),
    Wire("an offer of a WebSocket", (200,), (get("/health", "connection: upgrade", "upgrade: websocket"),)),
    Wire("`Expect` of something unknown", (200,), (post(NATIVE, GOOD, f"expect: {MARK}"),)),
    Wire("a valid `X-Request-Id`, which is repeated", (200,), (get("/health", "x-request-id: a.b-c:1/2+3=4"),)),
    Wire("a request id of 129 characters", (200,), (get("/health", f"x-request-id: {MARK}{'a' * 117}"),)),
    Wire("a request id with a quote", (200,), (get("/health", f'x-request-id: {MARK}"'),)),
    Wire("a request id beyond ASCII", (200,), (get("/health", f"x-request-id: {MARK}\xc3\xa9"),)),
    Wire("a request id with a tab", (200,), (get("/health", f"x-request-id: {MARK}\ta"),)),
    Wire("a request id with a line end", (400,), (get("/health", f"x-request-id: a\rset-cookie: {MARK}"),), True),
    Wire("a request id that is folded", (400,), (get("/health", f"x-request-id: a\r\n set-cookie: {MARK}"),), True),
    Wire("a header with a NUL", (400,), (get("/health", f"x-request-id: {MARK}\0"),), True),
    Wire("a blank before the colon", (400,), (get("/health", f"x-request-id : {MARK}"),), True),
    *(
        Wire(f"`X-Request-Timeout-Ms: {value}`", (status,), (post(NATIVE, GOOD, f"x-request-timeout-ms: {value}"),))
        for value, status in (
            *(("0", 422), ("-1", 422), ("nan", 422), ("1e999", 422), ("soon", 422), ("", 422)),
            *(("1e308", 200), ("1e-300", 504)),
        )
    ),
    *(
        Wire(f"a model named `{shown}`", (404,), (post(path, GOOD),), path=path)
        for shown, path in (
            ("(the mark)", f"/models/{MARK}"),
            ("..", "/models/.."),
            ("%2e%2e", "/v1/models/%2e%2e/classify"),
            ("..%2f..%2fetc%2fpasswd", "/v1/models/..%2f..%2fetc%2fpasswd/classify"),
            ("%00", "/models/%00"),
            ("%ff", "/models/%ff"),
            ("%ED%A0%80", "/models/%ED%A0%80"),
            ("%0d%0aset-cookie: a", "/models/%0d%0aset-cookie:%20a"),
            ("mood, version ../1", "/v2/models/mood/versions/..%2f1/infer"),
        )
    ),
]

QUESTION = {"question": "who sang", "context": "the town sang a song " * 20}


def _zero_shot(**parameters: object) -> bytes:
    return json.dumps({"inputs": "the film", "parameters": parameters}).encode()


def _question(what: str, gets: int, path: str = "/v1/answer", **more: object) -> Wire:
    body = {**QUESTION, **more} if path == "/v1/answer" else {"inputs": QUESTION, "parameters": more}
    return Wire(what, (gets,), (post(path, json.dumps(body).encode()),), path=path)


OPTIONS = [
    Wire("`top_k` of 0 labels", (422,), (post(NATIVE, b'{"inputs": "the film", "top_k": 0}'),)),
    Wire(
        "`top_k` of 10^30 labels: all", (200,), (post(NATIVE, b'{"inputs": "the film", "top_k": 1%s}' % (b"0" * 30)),)
    ),
    Wire("`top_k` of 1.5 labels", (422,), (post(NATIVE, b'{"inputs": "the film", "top_k": 1.5}'),)),
    Wire("`activation` unknown", (422,), (post(NATIVE, b'{"inputs": "the film", "activation": "%s"}' % M),)),
    Wire("`model` unknown", (404,), (post(NATIVE, b'{"inputs": "the film", "model": "%s"}' % M),)),
    Wire("`model` for another task", (400,), (post(NATIVE, b'{"inputs": "the film", "model": "who"}'),)),
    Wire("`timeout_ms` of 1e999", (422,), (post(NATIVE, b'{"inputs": "the film", "timeout_ms": 1e999}'),)),
    Wire("`timeout_ms` of 1e-9", (504,), (post(NATIVE, b'{"inputs": "the film", "timeout_ms": 1e-9}'),)),
    _question("`top_k` of 0 answers", 422, top_k=0),
    _question("`top_k` of 101 answers", 422, top_k=101),
    _question("the same through Hugging Face", 422, "/models/who", top_k=101),
    _question("`top_k` of 10^30 answers", 422, top_k=10**30),
    _question("a stride below zero", 422, stride=-1),
    _question("a stride as long as a window", 422, max_length=32, stride=32),
    _question("a stride of 10^30", 422, stride=10**30),
    _question("windows of 7 tokens", 422, max_length=7),
    _question("windows of 10^30 tokens: the model's", 200, max_length=10**30),
    _question("answers of 0 tokens", 422, max_answer_length=0),
    _question("a question longer than a window", 422, question=f"{MARK} " * 300),
    _question("a blank question", 422, question=" \t "),
    _question("a blank context: no answer", 200, context=" \n "),
    _question("more windows than the limit", 413, context="the film was good " * 270, max_length=8, stride=0),
    _question("a question without a context", 422, context=None),
    *(
        Wire(f"candidate labels: {what}", (status,), (post("/", _zero_shot(**more)),), path="/models")
        for what, status, more in (
            ("to a model without an entailment label", 400, {"candidate_labels": [MARK]}),
            ("none", 422, {"candidate_labels": []}),
            ("empty ones between commas", 422, {"candidate_labels": " , ,"}),
            ("more than the limit", 413, {"candidate_labels": [MARK] * 9}),
            ("2,000 between commas", 413, {"candidate_labels": f"{MARK}," * 2_000}),
            ("a template without `{}`", 422, {"candidate_labels": [MARK], "hypothesis_template": MARK}),
            ("a template that looks inside", 422, {"candidate_labels": [MARK], "hypothesis_template": "{0.__class__}"}),
            ("a template of 1,001 characters", 422, {"candidate_labels": [MARK], "hypothesis_template": "{}" * 501}),
        )
    ),
    _question("half a surrogate pair in the context", 400, context="\ud800"),
    _question("1,000 combining accents as a context", 200, context="e" + "\u0301" * 1_000),
]


def tensor(**more: object) -> dict[str, object]:
    """A text tensor that stands behind the header."""
    return {"name": "text", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 12}, **more}


BINARY = struct.pack("<I", 8) + b"the film"


def infer(
    *inputs: dict[str, object], tail: bytes = BINARY, length: str | int | None = None, **more: object
) -> tuple[bytes]:
    """A v2 request with binary tensors."""
    header = json.dumps({"inputs": list(inputs), **more}).encode()
    size = f"inference-header-content-length: {len(header) if length is None else length}"
    return (post(DIALECTS["v2"], header + tail, size, kind="content-type: application/octet-stream"),)


def _sized(size: object) -> dict[str, object]:
    return tensor(parameters={"binary_data_size": size})


def _v2(what: str, send: tuple[bytes], gets: int = 400) -> Wire:
    return Wire(what, (gets,), send, path=DIALECTS["v2"])


def _plain(**more: object) -> dict[str, object]:
    return {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["the film"], **more}


def _scores(count: int) -> tuple[bytes]:
    """The `count` best labels."""
    return infer(_plain(), tail=b"", outputs=[{"name": "scores", "parameters": {"classification": count}}])


V2 = [
    _v2("a valid binary tensor", infer(tensor()), 200),
    _v2("a shape of two and data of one", infer(tensor(shape=[2, 1]))),
    _v2("a shape of one and data of two", infer(_sized(24), tail=BINARY * 2)),
    _v2("a shape of none", infer(tensor(shape=[0, 1]))),
    _v2("a shape of nothing", infer(tensor(shape=[]))),
    _v2("a shape below zero", infer(tensor(shape=[-1, 1]))),
    _v2("a shape of 2^31 and one", infer(tensor(shape=[1 << 31, 1]))),
    _v2("a shape of 2^64", infer(tensor(shape=[1 << 64, 1]))),
    _v2("a shape of 10^400", infer(tensor(shape=[10**400, 1]))),
    _v2("a shape of 1.0", infer(tensor(shape=[1.0, 1]))),
    _v2("a shape of `\"1\"`", infer(tensor(shape=["1", 1]))),
    _v2("a shape whose product overflows to one", infer(tensor(shape=[1 << 16, 1 << 16]))),
    _v2("a shape of 500 dimensions", infer(tensor(shape=[1] * 500))),
    _v2("another datatype", infer(tensor(datatype="INT64"))),
    _v2("an unknown datatype", infer(tensor(datatype=MARK))),
    _v2("`binary_data_size` larger than the body", infer(_sized(13))),
    _v2("`binary_data_size` smaller than the data", infer(_sized(11))),
    _v2("`binary_data_size` of 2^64", infer(_sized(1 << 64))),
    _v2("`binary_data_size` below zero", infer(_sized(-12))),
    _v2("`binary_data_size` of 12.0", infer(_sized(12.0))),
    _v2("`binary_data_size` of true", infer(_sized(True))),
    _v2("`binary_data_size` and data", infer(tensor(data=["the film"]))),
    _v2("neither", infer(tensor(parameters={}))),
    _v2("bytes behind the last tensor", infer(tensor(), tail=BINARY + M)),
    _v2("a text's length of 2^32 - 1", infer(tensor(), tail=b"\xff\xff\xff\xff" + BINARY[4:])),
    _v2("a text's length one too large", infer(tensor(), tail=struct.pack("<I", 9) + BINARY[4:])),
    _v2("a tensor that ends within a length", infer(_sized(14), tail=BINARY + b"\0\0")),
    _v2("a text that is not UTF-8", infer(tensor(), tail=struct.pack("<I", 8) + b"the \xfflm")),
    _v2("a text with half a surrogate pair", infer(tensor(), tail=struct.pack("<I", 8) + b"the \xed\xa0\x80m")),
    _v2("more texts than the limit", infer(_sized(108) | {"shape": [9]}, tail=BINARY * 9)),
    _v2("10,000 empty texts", infer(_sized(40_000) | {"shape": [10_000]}, tail=bytes(40_000))),
    _v2("a header length larger than the body", infer(tensor(), length=99_999)),
    _v2("a header length smaller than the header", infer(tensor(), length=20)),
    _v2("a header length of 0", infer(tensor(), length=0)),
    _v2("a header length below zero", infer(tensor(), length=-1)),
    _v2("a header length of 20 digits", infer(tensor(), length="9" * 20)),
    _v2("a header length that is no number", infer(tensor(), length=MARK)),
    _v2("a header length in superscript", infer(tensor(), length="\xb2")),
    _v2("no inputs", infer(tail=b"")),
    _v2("a missing input", infer(_plain(name="text_pair"), tail=b"")),
    _v2("an unknown input", infer(_plain(), _plain(name=MARK), tail=b"")),
    _v2("an input twice", infer(_plain(), _plain(), tail=b"")),
    _v2("inputs of different lengths", infer(_plain(), _plain(name="text_pair", shape=[2], data=["a", "b"]), tail=b"")),
    _v2("an unknown output", infer(_plain(), tail=b"", outputs=[{"name": MARK}])),
    _v2("a `classification` of 0", _scores(0)),
    _v2("a `classification` of 10^30: all", _scores(10**30), 200),
    _v2("a `timeout` below zero", infer(_plain(), tail=b"", parameters={"timeout": -1})),
    _v2("a `timeout` of 10^30", infer(_plain(), tail=b"", parameters={"timeout": 10**30}), 200),
    _v2("a `timeout` of 1 µs", infer(_plain(), tail=b"", parameters={"timeout": 1}), 504),
    _v2("an unknown activation", infer(_plain(), tail=b"", parameters={"activation": [MARK]})),
    _v2("data 300 levels deep", infer(_plain(data=json.loads("[" * 150 + "]" * 150)), tail=b"")),
    _v2("an id that is no text", infer(_plain(), tail=b"", id={MARK: 1})),
    _v2("shared memory", infer(tensor(parameters={"shared_memory_region": "/etc/passwd"}), tail=b"")),
]  # fmt: skip

TABLES: dict[str, Sequence[Wire]] = {"HTTP": HTTP, "Options": OPTIONS, "Open Inference Protocol": V2}


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
    protocol = type("Narrow", (BoundedProtocol,), {"max_head_bytes": HEAD_BYTES, "head_seconds": SECONDS})
    config = uvicorn.Config(create_app(settings), port=0, http=protocol, log_config=None, ws="none")
    config.server_header = False
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


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


def test_who_asks_and_never_reads_is_cut_off(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Answers pile up, reading stops, and after a while the connection ends and frees what it held, without a word."""
    body = infer(_plain(), tail=b"", id="a" * 50_000)[0]
    gone = (BrokenPipeError, ConnectionResetError)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, pytest.raises(gone):
        connection.sendall(body * 2_000)
    (metrics,) = exchange(port, (get("/metrics", "accept-encoding: identity"),), 1, False)
    assert b"pgb_open_requests 1.0" in metrics.body
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_body_that_comes_after_its_refusal_leaves_a_clock(port: int) -> None:
    """The connection is closed once it has asked nothing for a while, and gets no answer that it did not ask for."""
    head = b"POST /v1/classify HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(b" " * 900_000)
            assert connection.recv(4096) == b""


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


@dataclass(frozen=True)
class Guarded:
    """An application with a file of keys, and the keys."""

    client: TestClient
    file: Path
    use: str
    admin: str

    def status(self, method: str, path: str, key: str | None, header: str = "authorization") -> int:
        """Of a request with that key."""
        value = f"Bearer {key}" if header == "authorization" else key or ""
        headers = {} if key is None else {header: value.encode()}
        return self.client.request(method, path, headers=headers).status_code


@pytest.fixture
def guarded(artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """Keys that are looked at anew with every request."""
    monkeypatch.setattr("service.keys._RECHECK_SECONDS", -1.0)
    file = tmp_path / "keys"
    use, admin = make_key(file, "someone", "use"), make_key(file, "root", "admin")
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1, keys_file=file, metrics_key=True)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield Guarded(client, file, use, admin)


OPEN = {("get", path) for path in ("/", "/health", "/ping", "/v2", "/v2/health/live", "/v2/health/ready")}


def test_every_operation_asks_for_the_key_that_it_should(guarded: Guarded) -> None:
    """All of the OpenAPI document: probes are open, administration is for admin keys, the rest for any key."""
    paths = guarded.client.get("/openapi.json").json()["paths"]
    seen = {"open": 0, "use": 0, "admin": 0}
    for template, operations in paths.items():
        path = template.replace("{name}", "mood").replace("{version}", "1")
        for method in operations:
            if (method, template) in OPEN:
                assert guarded.status(method, path, None) == 200
                assert guarded.status("head", path, None) == 200
                seen["open"] += 1
                continue
            for wrong in (None, "", "pgb_wrong", guarded.use + "a", guarded.use[:-1], "clé"):
                assert guarded.status(method, path, wrong) == 401, (method, path, wrong)
            assert "WWW-Authenticate" in guarded.client.request(method, path).headers
            if method == "get":
                assert guarded.status("head", path, None) == 401
                assert guarded.status("head", path, guarded.use) == guarded.status("get", path, guarded.use)
            admin = template.endswith(("/load", "/unload", "/split"))
            assert (guarded.status(method, path, guarded.use) == 403) == admin
            if not template.endswith("unload"):
                assert guarded.status(method, path, guarded.admin) not in (401, 403)
            seen["admin" if admin else "use"] += 1
    assert seen["open"] == len(OPEN)
    assert seen["admin"] == 5
    assert seen["use"] > 15


def test_without_a_file_of_keys_nobody_administers(artifacts: tuple[Path, Path]) -> None:
    """And everyone may ask."""
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), threads=1))) as client:
        assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200
        for path in ("/v1/models/mood/unload", "/v2/repository/models/mood/unload"):
            assert client.post(path, headers={"authorization": "Bearer a"}, json={}).status_code == 403


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_that_is_taken_out_of_the_file_ends_and_a_new_one_begins(guarded: Guarded, header: str) -> None:
    """While the service runs; a file that turns bad, or goes, leaves the last good keys."""
    assert guarded.status("get", "/v1/models", guarded.use, header) == 200
    kept = [line for line in guarded.file.read_text().splitlines() if not line.startswith("someone ")]
    guarded.file.write_text("# without someone\n" + "\n".join(kept) + "\n")
    new = make_key(guarded.file, "new", "use")
    assert guarded.status("get", "/v1/models", guarded.use, header) == 401
    assert guarded.status("get", "/v1/models", new, header) == 200
    guarded.file.write_text("nonsense\n")
    assert guarded.status("get", "/v1/models", new, header) == 200
    guarded.file.unlink()
    assert guarded.status("get", "/v1/models", new, header) == 200
    assert guarded.status("get", "/v1/models", "pgb_wrong", header) == 401


def test_a_file_of_keys_that_cannot_be_read_is_read_again_until_it_can(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that was taken out while the file could not be read ends as soon as it can; the log says what holds."""
    text = guarded.file.read_text()
    away = guarded.file.with_name("away")
    guarded.file.rename(away)
    guarded.file.mkdir()  # cannot be read by anybody, not even by root
    assert guarded.status("get", "/v1/models", guarded.use) == 200
    assert [record.levelname for record in caplog.records if "cannot be read" in record.message] == ["ERROR"]
    assert guarded.status("get", "/v1/models", guarded.use) == 200
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 1
    guarded.file.rmdir()
    away.write_text("\n".join(line for line in text.splitlines() if not line.startswith("someone ")))
    before = away.stat()
    away.rename(guarded.file)
    os.utime(guarded.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert guarded.status("get", "/v1/models", guarded.use) == 401


def test_a_file_of_keys_that_changes_hands_is_read_again(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode and owner count, not only its time and size."""
    read: list[Path] = []
    monkeypatch.setattr("service.keys.read_keys", lambda path: read.append(path) or read_keys(path))
    guarded.status("get", "/v1/models", guarded.use)
    assert not read
    guarded.file.chmod(0o640)
    guarded.status("get", "/v1/models", guarded.use)
    assert len(read) == 1


def test_nobody_s_bytes_are_held_who_has_no_key(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Of 64 who promise four megabytes each without a key, every one is refused from its head; the owner is served."""
    file = tmp_path / "keys"
    use = make_key(file, "someone", "use")
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1, keys_file=file)
    head = b"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n"
    with running(settings) as url, ExitStack() as stack:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        for _ in range(64):
            connection = stack.enter_context(socket.create_connection(address, 20))
            connection.sendall(head)
            assert connection.recv(4096).startswith(b"HTTP/1.1 401")
        headers = {"x-api-key": use, "content-type": "application/json"}
        reply = httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}, headers=headers)
        assert reply.status_code == 200


def test_who_has_no_key_is_not_told_whether_a_body_would_do(guarded: Guarded) -> None:
    """The key comes first, whatever was sent."""
    for body in (b"{", b"", b'{"inputs": 7}', b'{"inputs": "x"}'):
        for path in (
            *("/v1/classify", "/", "/predict", "/v1/models/mood/classify", "/v2/models/mood/infer"),
            *("/v1/models/mood:predict", "/invocations"),
        ):
            reply = guarded.client.post(path, content=body, headers={"content-type": "application/json"})
            assert reply.status_code == 401, (path, body)


def test_a_secret_is_nowhere_but_with_its_owner(guarded: Guarded) -> None:
    """The file holds hashes and is its owner's alone; no answer and no error repeats a key."""
    assert guarded.use not in guarded.file.read_text()
    assert hashlib.sha256(guarded.use.encode()).hexdigest() in guarded.file.read_text()
    assert guarded.file.stat().st_mode & 0o077 == 0
    for key in (guarded.use, guarded.use + "x"):
        reply = guarded.client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert guarded.use not in reply.text + str(reply.headers)


def test_a_key_is_added_to_a_file_that_somebody_wrote_by_hand(tmp_path: Path) -> None:
    """Which may lack its last newline."""
    file = tmp_path / "keys"
    secrets = [make_key(file, "a", "use")]
    file.write_text(file.read_text().rstrip("\n"))
    secrets.append(make_key(file, "b", "use"))
    assert [Keys(file).check(secret, "use") for secret in secrets] == ["a", "b"]


def test_no_key_is_not_the_key_whose_hash_is_that_of_nothing(guarded: Guarded) -> None:
    """A line made by hashing an unset variable lets nobody in."""
    with guarded.file.open("a") as file:
        file.write(f"slip admin {hashlib.sha256(b'').hexdigest()}\n")
    for key in (None, "", " "):
        assert guarded.status("get", "/v1/models", key) == 401


def test_keys_are_compared_in_constant_time_and_all_of_them(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever in the file the right one stands, and whether there is one."""
    compared: list[str] = []
    real = hmac.compare_digest

    def noted(first: str, second: str) -> bool:
        compared.append(first)
        return real(first, second)

    monkeypatch.setattr("service.keys.hmac.compare_digest", noted)
    for key, status in ((guarded.use, 200), (guarded.admin, 200), ("pgb_wrong", 401)):
        compared.clear()
        assert guarded.status("get", "/v1/models", key) == status
        assert len(compared) == 2
        assert all(len(digest) == 64 for digest in compared)


def test_origins_are_let_in_only_where_they_are_named(artifacts: tuple[Path, Path]) -> None:
    """No CORS header unless configured, and then for those origins alone."""
    for origins, origin, allowed in (
        ((), "https://a.example", None),
        (("https://a.example",), "https://a.example", "https://a.example"),
        (("https://a.example",), f"https://{MARK}.example", None),
    ):
        with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), cors_origins=origins))) as client:
            reply = client.get("/health", headers={"origin": origin})
            assert reply.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in reply.headers
            refused = client.post("/v1/classify", content=b"{}", headers={"origin": origin, "content-encoding": "br"})
            assert refused.status_code == 400
            assert refused.headers.get("access-control-allow-origin") == allowed
            assert ("x-request-id" in refused.headers.get("access-control-expose-headers", "")) == bool(origins)


def test_metrics_can_be_switched_off(artifacts: tuple[Path, Path]) -> None:
    """Then there is no such path."""
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), metrics=False))) as client:
        assert client.get("/metrics").status_code == 404


def test_a_graph_that_keeps_tensors_in_other_files_is_not_loaded(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """No hash of the manifest would cover them. The runtime alone would load it."""
    copy = tmp_path / "mood"
    shutil.copytree(artifacts[0], copy)
    graph = onnx.load(copy / MODEL)
    onnx.save_model(graph, copy / MODEL, save_as_external_data=True, location="weights.bin", size_threshold=1024)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"][MODEL] = hashlib.sha256((copy / MODEL).read_bytes()).hexdigest()
    (copy / MANIFEST).write_text(json.dumps(manifest))
    onnxruntime.InferenceSession(copy / MODEL)
    with pytest.raises(LoadFailed, match="other files"), TestClient(create_app(Settings(artifacts=(str(copy),)))):
        pass


def test_the_openapi_document_is_whole(guarded: Guarded) -> None:
    """What it refers to is in it, and of every operation but probes it says that a key is needed."""
    text = guarded.client.get("/openapi.json").text
    document = json.loads(text)
    assert set(re.findall(r"#/components/schemas/([^\"]+)", text)) <= set(document["components"]["schemas"])
    assert "#/$defs" not in text
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == ((method, path) not in OPEN and path != "/metrics"), path


def tables() -> str:
    """What docs/security.md shows, in Markdown."""
    lines = [
        f"Limits in the test: {BODY_BYTES:,} bytes of body, {HEAD_BYTES:,} of head, {ITEMS} inputs, "
        f"{CHARACTERS:,} characters, {SECONDS:g} seconds.",
        "",
        f"| body | {' | '.join(DIALECTS)} |",
        "|---|" + "---|" * len(DIALECTS),
        *(f"| {case.what} | {' | '.join(map(str, case.gets))} |" for case in BODIES),
    ]
    for title, table in TABLES.items():
        lines += ["", f"| {title} | answer |", "|---|---|", *(f"| {case.what} | {case.shown()} |" for case in table)]
    return "\n".join(lines)


_TITLES = {"huggingface": "Hugging Face", "tei": "TEI", "kserve": "KServe v1", "sagemaker": "SageMaker"}


def statuses() -> str:
    """What happened, and the status by dialect."""
    names = [_TITLES.get(dialect.name, dialect.name) for dialect in SPOKEN]
    lines = [f"| what happened | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for kind in STATUS:
        row = [str(status_of(dialect, kind)) for dialect in SPOKEN]
        lines.append(f"| {str(kind.__doc__).rstrip('.')} | {' | '.join(row)} |")
    return "\n".join(lines)


BLOCKS = {
    ("<!-- statuses -->", "<!-- end of statuses -->"): statuses,
    ("<!-- hostile inputs: python -m tests.service.test_hostile -->", "<!-- end -->"): tables,
}


def written(document: str) -> str:
    """The document with the tables as they are."""
    for (begin, end), make in BLOCKS.items():
        before, found, rest = document.partition(begin)
        assert found
        document = f"{before}{begin}\n\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return document


def test_the_document_shows_these_tables() -> None:
    """docs/security.md cannot drift."""
    document = DOCUMENT.read_text("utf-8")
    assert document == written(document), "run python -m tests.service.test_hostile"


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")
