"""Shows values from a file in messages: short, printable, and without Python's own notation."""

from __future__ import annotations

import datetime
import math
import unicodedata
from collections.abc import Iterable

from pgb_core.data.rows import Named

_LONGEST = 60  # characters of a value that a message repeats


def plain(text: object) -> str:
    """Printable on one line: what is not is written as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def folded(name: str) -> str:
    """A name without what two ways to write it differ in: blanks around it, case, and accents as marks of their own."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def file_name(source: str) -> str:
    """What a source is called: the last part of its name, printable."""
    return shown(source.rstrip("/").rpartition("/")[2])[1:-1]


def shown(value: object) -> str:
    """A value in quotes if it is a text, else what it is; a label by its name and its number."""
    if isinstance(value, str):
        text = plain(value)
        return f"'{text}'" if len(text) <= _LONGEST else f"'{text[: _LONGEST - 3]}...'"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinity"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, Named):
        return f"{shown(value.name)} ({value.id})"
    if isinstance(value, tuple):
        return f"[{some([shown(item) for item in value], 5)}]"
    return kind(value)


def number(value: float) -> str:
    """A number as one writes it; the longest only by their size."""
    if isinstance(value, int) and abs(value) >= 10**15:
        return "a number of more than 15 digits"
    return str(value) if isinstance(value, int) else f"{value:.15g}"


def kind(value: object) -> str:
    """What a value of JSON or of Parquet is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, float) and math.isnan(value):
        return "empty (NaN)"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, Named):
        return "a label"
    if isinstance(value, (datetime.date, datetime.time)):
        return "a date or a time"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


def some(names: Iterable[str], most: int = 8) -> str:
    """Names with commas; of many the first few and how many more."""
    given = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..." for name in map(plain, names)]
    return ", ".join(given[:most]) + (f" and {len(given) - most:,} more" if len(given) > most else "")


def counted(count: int, one: str, many: str = "") -> str:
    """'1 row', '1,000 rows'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
