"""Reads a file as text or JSON. Each error names the file and says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pgb_core.artifact import POINTER
from pgb_core.data.packed import read_bytes
from pgb_core.data.words import plain, shown
from pgb_core.errors import DataError

_MAGIC = (
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
    (POINTER, "a pointer of Git LFS, not the file itself", "fetch that with git lfs pull"),
    (b"PAR1", "a Parquet file", "end its name in .parquet"),
    (b"ARROW1", "an Arrow file", "write it as .csv or .jsonl"),
    (b"PK\x03\x04", "a ZIP or Excel file", "end the name of a ZIP file in .zip, save a sheet as .csv"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file", "save the sheet as .csv"),
    (b"\x1f\x8b", "a gzip file", "unpack it, or end its name in .gz after its kind"),
    (b"BZh", "a bzip2 file", "unpack it, or end its name in .bz2 after its kind"),
    (b"\xfd7zXZ", "an xz file", "unpack it, or end its name in .xz after its kind"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it, or end its name in .zst after its kind"),
    (b"SQLite format 3", "a SQLite file", "write it as .csv or .jsonl"),
    (b"%PDF-", "a PDF file", "write its texts as .csv or .txt"),
    (b"{\\rtf", "an RTF file", "save it as plain text"),
    (b"<!doctype html", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
)


def read_text(path: Path) -> str:
    """The whole file, unpacked, without a byte order mark. Raises DataError when it is not UTF-8 text."""
    raw = read_bytes(path)
    refuse_other_kinds(path, raw)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 at byte {error.start} of the file; save the file as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}:{line}: holds a NUL character; the file is not plain UTF-8 text, save it as that")
    return text


def refuse_other_kinds(path: Path, begins: bytes | bytearray) -> None:
    """Raises DataError where a file begins as one of another kind does."""
    start = begins[:64].lstrip()
    for magic, what, remedy in _MAGIC:
        if begins.startswith(magic) or (magic.startswith(b"<") and start.lower().startswith(magic)):
            raise DataError(f"{path}: is {what}; {remedy}")


def read_lines(path: Path) -> list[str]:
    """The file's lines without their newline; a carriage return before it stays."""
    return split_lines(path, read_text(path))


def split_lines(path: Path, text: str) -> list[str]:
    """The lines of a file's text, as `read_lines` gives them."""
    body = text.rstrip("\r\n")
    if "\r" in body and "\n" not in body:
        raise DataError(f"{path}: its lines end in carriage returns alone; save it with newlines")
    return text.split("\n")


class _TwiceError(ValueError):
    """A key stands twice in one JSON object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _TwiceError(name)
            seen.add(name)
    return found


def parse_json(text: str, where: str, what: str) -> Any:
    """What JSON says. Raises DataError that calls it not `what`, at `where` or at its own line of a longer text."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise DataError(f"{where}: the key {shown(str(error))} stands twice in one object; keep one") from error
    except json.JSONDecodeError as error:
        at = f"{where}:{error.lineno}" if "\n" in text.strip() or what == "SQuAD JSON" else where
        said = error.msg.replace("Extra data", "more than one value").replace("Expecting", "expected")
        said = f"{said[:1].lower()}{said[1:].removesuffix(' at')}"
        raise DataError(f"{at}: not {what} ({plain(said)} at character {error.colno}); write one that is") from error
    except ValueError as error:  # Python's own limit on digits
        raise DataError(f"{where}: not {what} (a number has thousands of digits); shorten it") from error
    except RecursionError as error:
        raise DataError(f"{where}: not {what} (it is nested too deeply); flatten it") from error
