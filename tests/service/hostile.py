"""Hostile input as bytes, and what each piece of it gets; `python -m tests.service.hostile` writes that into a page.

The page is docs/security.md.
"""

from __future__ import annotations

import gzip
import itertools
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.dialects import DIALECTS as SPOKEN
from service.http.failures import STATUS, status_of

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
EXPECT = ("expect: 100-continue",)
EXPECTING = post(NATIVE, b"", *EXPECT, length=str(len(GOOD))).replace(b"/1.1", b"/1.0")
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
    Wire("a known path with a line end behind it, escaped", (404,), (get("/metrics%0A"),)),
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
    Wire("blanks over the limit behind a value", (431,), (get("/health", f"x: {MARK}{' ' * HEAD_BYTES}"),), True),
    Wire("a head over the limit, in pieces", (431,), cut(get("/", f"x: {MARK * 300}")[:2_100], 700), True),
    Wire("half a head, then nothing", (408,), (get(f"/{MARK}")[:-4], SECONDS), True),
    Wire("only line ends, then nothing", (408,), (b"\r\n" * 9, SECONDS), True),
    Wire("half a body, then nothing, then single bytes", (408,), (post(NATIVE, M, length="99"), 4.0, b"a"), True),
    Wire("a length of 2^62 and a byte now and then", (413,), (post(NATIVE, M, length=str(1 << 62)), 4.0, b"a"), True),
    Wire("a length below zero", (400,), (post(NATIVE, GOOD, length="-5"),), True),
    Wire("a length of 30 digits", (400,), (post(NATIVE, GOOD, length="9" * 30),), True),
    Wire("a length that is no number", (400,), (post(NATIVE, GOOD, length=MARK),), True),
    Wire("a length in superscript", (400,), (post(NATIVE, GOOD, length="\xb2"),), True),
    Wire("a length with blanks around it", (200,), (post(NATIVE, GOOD, length=f" \t{len(GOOD)} \t"),)),
    Wire("a length of 2^62 with a blank behind it", (413,), (post(NATIVE, M, length=f"{1 << 62} "), 4.0, b"a"), True),
    Wire("two lengths", (400,), (post(NATIVE, GOOD, "content-length: 5"),), True),
    Wire("a length shorter than the body", (400, 400), (post(NATIVE, GOOD, length="5"),), True),
    Wire("a length and chunks", (400,), (CHUNKED + b"content-length: 5\r\n\r\n" + CHUNK + b"0\r\n\r\n",), True),
    Wire("an unknown transfer encoding", (400,), (post(NATIVE, GOOD, f"transfer-encoding: {MARK}"),), True),
    Wire("gzip as a transfer encoding", (400,), (CHUNKED.replace(b": chunked", b": gzip, chunked") + b"\r\n",), True),
    Wire("two content encodings", (400,), (post(NATIVE, GOOD, *["content-encoding: identity"] * 2),), True),
    Wire("`Expect: 100-continue` in HTTP/1.0", (200,), (EXPECTING, 0.1, GOOD), True),
    Wire(
        "`Expect: 100-continue` before a body that is refused",
        (413,),
        (post(NATIVE, b"", *EXPECT, length="9" * 9),),
        True,
    ),
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
    Wire("an offer of HTTP/2, split over two pieces", (200,), halves(post(NATIVE, GOOD, *H2C), b"upgr")),
    Wire(
        "an offer of HTTP/2 behind a request, in the same piece",
        (200, 200),
        (post(NATIVE, GOOD) + post(NATIVE, GOOD, *H2C),),
    ),
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
            *(("0", 422), ("-1", 422), ("nan", 422), ("1e999", 422), ("soon", 422), ("", 422), ("1_000", 422)),
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
    *(
        Wire(
            f"`{name}` of `{value}`",
            (422,),
            (post(NATIVE, f'{{"inputs": "the film", "{name}": {value}}}'.encode()),),
        )
        for name, value in (
            *(("top_k", "true"), ("top_k", '"1"'), ("top_k", "1.0"), ("timeout_ms", "true"), ("timeout_ms", '"500"')),
            *(("truncate", '"off"'), ("truncate", "0"), ("stride", "true")),
        )
    ),
    _question("`handle_impossible` of 1", 422, handle_impossible=1),
    _question('`align_to_words` of `"no"`', 422, align_to_words="no"),
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


_HEADER_BYTES = len(json.dumps({"inputs": [tensor()]}))
_BINARY_NO = {"name": "score", "parameters": {"binary_data": "no"}}
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
    _v2("a header length with a blank behind it", infer(tensor(), length=f"{_HEADER_BYTES} "), 200),
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
    _v2("`binary_data_output` of `\"false\"`", infer(_plain(), tail=b"", parameters={"binary_data_output": "false"})),
    _v2("`binary_data` of `\"no\"`", infer(_plain(), tail=b"", outputs=[_BINARY_NO])),
    _v2("`handle_impossible` of 1", infer(_plain(), tail=b"", parameters={"handle_impossible": 1})),
    _v2("`NaN` as a parameter", infer(_plain(), tail=b"", parameters={"other": float("nan")})),
    _v2("data 300 levels deep", infer(_plain(data=json.loads("[" * 150 + "]" * 150)), tail=b"")),
    _v2("an id that is no text", infer(_plain(), tail=b"", id={MARK: 1})),
    _v2("an id of 1,025 characters", infer(_plain(), tail=b"", id="a" * 1_025)),
    _v2("shared memory", infer(tensor(parameters={"shared_memory_region": "/etc/passwd"}), tail=b"")),
]  # fmt: skip

TABLES: dict[str, Sequence[Wire]] = {"HTTP": HTTP, "Options": OPTIONS, "Open Inference Protocol": V2}


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
    ("<!-- hostile inputs: python -m tests.service.hostile -->", "<!-- end -->"): tables,
}


def written(document: str) -> str:
    """The document with the tables as they are."""
    for (begin, end), make in BLOCKS.items():
        before, found, rest = document.partition(begin)
        assert found
        document = f"{before}{begin}\n\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")
