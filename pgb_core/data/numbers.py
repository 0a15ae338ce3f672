"""Reads numbers and truth values as label files write them."""

from __future__ import annotations

import re
from typing import TypeGuard

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")  # takes time in proportion to a text
_WORDS = {"true": True, "false": False}
LARGEST = 3.4028234663852886e38  # a target is a float32


def real(value: object) -> float | None:
    """A finite number that float32 holds, or None. A text must be one in full, with a decimal point."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= LARGEST else None  # NaN is not


def whole_number(value: object) -> int | None:
    """A whole number, also when written 1.0 or 1e0; None for anything else."""
    found = real(value)
    return int(found) if found is not None and found == int(found) else None


def has_point(value: object) -> TypeGuard[str | float]:
    """Whether a whole number is written otherwise than with digits alone, as 1.0 is."""
    plain = isinstance(value, str) and value.strip().lstrip("+-").isdecimal()
    return isinstance(value, (str, float)) and not plain and whole_number(value) is not None


def truth(value: object) -> bool | None:
    """true or false, in JSON or as a word in any case; None for anything else."""
    if isinstance(value, bool):
        return value
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def flag(value: object) -> float | None:
    """0 or 1, also as a truth value; None for anything else."""
    said = truth(value)
    number = float(said) if said is not None else real(value)
    return number if number in (0.0, 1.0) else None
