"""What the schemas of every dialect share: bad input of any size costs little to refuse."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from service.errors import TooLarge

# Values that an input may take in the longest way of writing it, and those that a request has besides.
_VALUES_OF_INPUT, _OTHER_VALUES = 16, 1_000


class Strict(BaseModel):
    """Unknown fields are an error, so that a misspelt option is not ignored. A crowd of them is one error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _not_more_than_there_are(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > len(cls.model_fields):
            raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
        return data


def check_values(body: bytes, items: int) -> None:
    """Count the values of JSON before one is made. Raises TooLarge when there are more than so many inputs can need.

    Values are bounded by the marks between them: commas, colons and opening brackets, but for those in strings.
    """
    most = _VALUES_OF_INPUT * items + _OTHER_VALUES
    if len(body) <= most or _marks(body) <= most:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in body else body
    # A string that is no value is a key, which has a colon. Every other part between quotes is in a string.
    if plain.count(b'"') > 2 * most + 2 or _marks(b"".join(plain.split(b'"')[::2])) > most:
        raise TooLarge("the request has more values than its inputs can need; send fewer inputs at a time")


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b":") + text.count(b"[") + text.count(b"{")
