"""One-line messages about wrong settings. Each names the setting, the value and what to use instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError

from pgb_core.options import METHODS

_KINDS = {
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "label_column": "a text or a list of texts",
}
_LIMITS = {"ge": "{} or more", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def said(error: ValidationError, models: Sequence[type[BaseModel]]) -> str:
    """The message for the first error in what was given, or for what is missing. models: the main model comes first."""
    every = error.errors(include_url=False)
    first = next((one for one in every if one["type"] != "missing"), every[0])
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    name = str(first["loc"][0]) if first["loc"] else ""
    if kind == "missing":
        return f"{name} is missing; " + ("name it" if name == "checkpoint" else f"give --{name.replace('_', '-')}")
    if kind == "extra_forbidden":
        return f"setting {name!r} is {_unknown(name, value, models)}"
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "").replace(" or ", ", ")
        fields = [model.model_fields[name] for model in models[1:] if name in model.model_fields]
        elsewhere = any(value in get_args(field.annotation) for field in fields)
        return f"{name} {_shown(value)} is {'of another --method' if elsewhere else 'unknown'}; use one of {allowed}"
    if kind == "value_error":
        return f"{name} {_shown(value)} {context['error']}" if name else str(context["error"])
    if kind.startswith(("greater_than", "less_than", "finite")):
        percent = f" ({value / 100:g} is {_number(value)}%)" if context.get("le") == 1 and 1 < value <= 100 else ""
        return f"{name} {_number(value)} is out of range; use {_range(name, models)}{percent}"
    quotes = "; write it in quotes" if kind == "string_type" and isinstance(value, date | time) else ""
    return f"{name} must be {_KINDS.get(name, _KINDS.get(kind, kind))}, not {_shown(value)}{quotes}"


def _unknown(name: str, value: object, models: Sequence[type[BaseModel]]) -> str:
    """What is wrong with a name that no setting has, and what may have been meant."""
    if any(name in model.model_fields for model in models[1:]):
        owners = [method for method, model in METHODS.items() if name in model.model_fields]
        return f"of --method {' or '.join(owners)}; choose {'it' if len(owners) == 1 else 'one'}, or leave it out"
    if isinstance(value, Mapping):
        return "unknown; settings are not in a table of their own: write them at the top of the file"
    known = [field for model in models for field in model.model_fields]
    meant = get_close_matches(name.replace("-", "_"), known, 1)
    return f"unknown; did you mean {meant[0]!r}?" if meant else "unknown; see pgb compress --help"


def _range(name: str, models: Sequence[type[BaseModel]]) -> str:
    """The allowed range of a number, in words."""
    field = next(model.model_fields[name] for model in models if name in model.model_fields)
    found = {
        rule: getattr(limit, rule)
        for limit in field.metadata
        for rule in _LIMITS
        if getattr(limit, rule, None) is not None
    }
    if set(found) == {"ge", "le"}:
        return f"{_number(found['ge'])} to {_number(found['le'])}"
    return ", ".join(_LIMITS[rule].format(_number(limit)) for rule, limit in found.items())


def _shown(value: object) -> str:
    """As it was written; what TOML has without quotes may be a date or a time."""
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
