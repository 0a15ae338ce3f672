"""Addresses of the linear maps of an encoder: layer and role."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pgb_core.errors import PlanError


class Role(StrEnum):
    """The linear maps of one encoder layer, in the order data meets them."""

    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    ATTENTION_OUTPUT = "attention_output"
    FFN_IN = "ffn_in"
    FFN_OUT = "ffn_out"


ATTENTION = (Role.QUERY, Role.KEY, Role.VALUE, Role.ATTENTION_OUTPUT)
FEED_FORWARD = (Role.FFN_IN, Role.FFN_OUT)
WRITING = (Role.ATTENTION_OUTPUT, Role.FFN_OUT)  # to the residual stream; the others of a half read it
ORDER = {role: n for n, role in enumerate(Role)}


@dataclass(frozen=True, order=True)
class Site:
    """The address of one linear map."""

    layer: int
    role: Role

    def __str__(self) -> str:
        return f"{self.layer}.{self.role}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """Inverse of `str`. Raises PlanError."""
        layer, _, role = text.partition(".")
        try:
            return cls(int(layer), Role(role))
        except ValueError as error:
            raise PlanError(f"plan: {text!r} is not a site such as '0.query'") from error
