"""Requests of the v2 protocol that were right, and what becomes of them when bytes go wrong."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

MARK = "zq7marker7qz"
TEXTS = ("", "the film", MARK, "naïve Übergrößen", "👩‍👩‍👧 \U0010ffff", "\0\ufeff\u202e", "a" * 300)
# Bounds of the types that a length or a count may be read into, and what lies beyond.
NUMBERS = (
    *(0, 1, 2, 3, 4, 12, 127, 128, 255, 256, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 10**30, -1, -2, -(1 << 31), -(1 << 63)),
)
WORDS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"0.5", b"null", b"true", b'""', b"[]", b"{}", b"9" * 4400),
    *(b'"\\ud800"', b"\xed\xa0\x80", b"\xc0\x80", b"\xff", b"\0", b"[" * 300, b'{"a":' * 300, b"]", b"}", b",", b":"),
    *(b'"binary_data_size":', b'"shape":', b'"data":', b'"datatype":"FP32"', b'"parameters":', b'"name":"text"'),
    *(b'"classification":', b'"binary_data":true', b'"timeout":', b'"id":', MARK.encode(), b"\xff\xff\xff\xff"),
)
_DIGITS = re.compile(rb"-?\d+")


@dataclass(frozen=True)
class Request:
    """A body, and its Inference-Header-Content-Length, if it has one."""

    body: bytes
    length: str | None


EXTRAS: tuple[dict[str, object], ...] = (
    {},
    {"outputs": [{"name": "label", "parameters": {"binary_data": True}}, {"name": "score"}]},
    {"id": "1", "parameters": {"binary_data_output": True, "timeout": 10_000_000}},
    {"outputs": [{"name": "scores", "parameters": {"classification": 2}}]},
)
BEHIND = ((False,), (True,), (True, True), (False, True), (True, False))


def seeds() -> list[Request]:
    """JSON and binary, one input and several, texts and pairs, with and without outputs and parameters."""
    return [_seed(count, binary, extra) for count in (1, 2, 7) for binary in BEHIND for extra in EXTRAS]


def _seed(count: int, binary: tuple[bool, ...], extra: dict[str, object]) -> Request:
    inputs, buffers = [], []
    texts = [TEXTS[n % len(TEXTS)] for n in range(count)]
    for name, behind in zip(("text", "text_pair"), binary, strict=False):
        tensor: dict[str, object] = {"name": name, "shape": [count, 1], "datatype": "BYTES"}
        if behind:
            buffers.append(b"".join(struct.pack("<I", len(raw)) + raw for raw in map(str.encode, texts)))
            tensor["parameters"] = {"binary_data_size": len(buffers[-1])}
        else:
            tensor["data"] = [[text] for text in texts]
        inputs.append(tensor)
    header = json.dumps({"inputs": inputs, **extra}, ensure_ascii=False).encode()
    return Request(b"".join((header, *buffers)), str(len(header)) if buffers else None)


def mutants(seed: int) -> Iterator[Request]:
    """Without end, the same for the same seed: one to four changes to the bytes, and now and then to the length."""
    source = random.Random(seed)  # noqa: S311 - not for secrets
    good = seeds()
    while True:
        chosen = source.choice(good)
        body, length = bytearray(chosen.body), chosen.length
        for _ in range(source.choice((1, 1, 1, 2, 3, 4))):
            _change(body, _place(body, chosen.length, source), source, good)
        if source.random() < 0.2:
            length = _length(length, len(body), source)
        yield Request(bytes(body), length)


def _place(body: bytearray, length: str | None, source: random.Random) -> int:
    """Anywhere, or more often behind the JSON header, which few changes leave valid."""
    first = min(int(length or 0), len(body)) if source.random() < 0.6 else 0
    return source.randrange(first, len(body) + 1)


def _change(body: bytearray, at: int, source: random.Random, good: list[Request]) -> None:
    to = min(len(body), at + source.choice((1, 1, 2, 4, 16, 200)))
    match source.randrange(9):
        case 0 if at < len(body):
            body[at] ^= 1 << source.randrange(8)
        case 1 if at < len(body):
            body[at] = source.randrange(256)
        case 2:
            body[at:at] = source.randbytes(to - at)
        case 3:
            del body[at:to]
        case 4:
            body[at:at] = body[at:to] * source.choice((1, 2, 50))
        case 5:
            del body[at:]
        case 6:
            other = source.choice(good).body
            body[at:] = other[source.randrange(len(other)) :]
        case 7:
            body[at : source.choice((at, to))] = source.choice(WORDS)
        case _:
            _number(body, at, source)


def _number(body: bytearray, at: int, source: random.Random) -> None:
    """Another number, for one that is written out or for the four bytes of a length."""
    value = source.choice(NUMBERS)
    if source.random() < 0.5 and at + 4 <= len(body):
        old = struct.unpack_from("<I", body, at)[0]
        struct.pack_into("<I", body, at, source.choice((value, old + 1, old - 1)) & 0xFFFFFFFF)
        return
    written = list(_DIGITS.finditer(bytes(body)))
    if written:
        found = source.choice(written)
        near = int(found[0][:30]) + source.choice((-1, 1))
        body[found.start() : found.end()] = b"%d" % source.choice((value, near))


def _length(length: str | None, size: int, source: random.Random) -> str | None:
    near = int(length or 0)
    odd = ("", " 1", "+1", "1_0", "0x10", "1e3", "a", "00000000000", "\xb2")
    close = (str(near - 1), str(near + 1), str(size), str(size + 1), str(source.randrange(size + 1)))
    return source.choice((None, *close, *map(str, NUMBERS), *odd))
