"""Values that settings take, and how they may be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from pgb_core.options import FORMS


def one_of(names: tuple[str, ...]) -> AfterValidator:
    """A check that a value is one of these."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"is unknown; use one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def several(value: Any) -> Any:
    """A list, or one text, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def listed(value: Any) -> Any:
    """A list, or a text with commas, as a tuple."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else several(value)


def known_forms(value: tuple[str, ...]) -> tuple[str, ...]:
    """Names of forms that there are, each once."""
    for name in value:
        if name not in FORMS:
            raise ValueError(f"names the unknown form {name!r}; use {', '.join(FORMS)}")
    if not value or len(set(value)) < len(value):
        raise ValueError("must name one form or more, each once")
    return value


def _as_text(value: Any) -> Any:
    """A path as a text. A shell writes out a ~ only where it begins a word, and nobody does so in a file."""
    value = str(value) if isinstance(value, Path) else value
    return os.path.expanduser(value) if isinstance(value, str) else value


def _filled(value: str) -> str:
    if not value:
        raise ValueError("is empty; write a value, or leave the setting out")
    return value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("has a NUL character, which no file has in its name; take it out")
    return value


Named = Annotated[str, AfterValidator(_filled)]
Place = Annotated[str, BeforeValidator(_as_text), AfterValidator(_filled), AfterValidator(_without_nul)]
PlaceOrNone = Annotated[str, BeforeValidator(_as_text), AfterValidator(_without_nul)]  # empty for none
