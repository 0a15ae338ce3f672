"""Flags of `argparse` from the fields of settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pgb_core import flags
from pgb_core.artifact import TASKS
from pgb_core.config import CompressConfig
from pgb_core.options import METHODS

_LISTS = {"forms": "FORM,FORM", "methods": "METHOD,METHOD", "keep": "SHARE,SHARE"}
_CHOICES = {"task": TASKS, "method": tuple(METHODS)}
_MAY_BE_EMPTY = ("cache",)  # which then means that there is none


class _Filled(flags.Once):
    """Keeps the value of a flag, once, where it has one: a shell makes an empty one of a variable that nobody set."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if option_string is not None and values == "" and self.dest not in _MAY_BE_EMPTY:
            raise argparse.ArgumentError(self, "is given without a value; write one, or leave the flag out")
        super().__call__(parser, namespace, values, option_string)


class Parser(flags.Parser):
    """A parser whose flags have one value each, and no empty one."""

    keeps = _Filled


class _Switch(argparse.BooleanOptionalAction):
    """A flag that is given or denied; both at once are refused."""

    _given: str | None = None

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if self._given not in (None, option_string):
            raise argparse.ArgumentError(self, f"{self._given} and {option_string} are opposites; give one of them")
        self._given = option_string
        super().__call__(parser, namespace, values, option_string)


def add_settings(p: argparse._ActionsContainer, settings: type[BaseModel], names: Sequence[str]) -> None:
    """A flag for each of these settings."""
    for name in names:
        p.add_argument(_spelt(name), **_flag(settings, name))


def add_options(p: argparse.ArgumentParser) -> None:
    """A flag for each option of the methods. Methods with an option of the same name share its flag."""
    names = dict.fromkeys(name for options in METHODS.values() for name in options.model_fields)
    owners = {name: [method for method, options in METHODS.items() if name in options.model_fields] for name in names}
    several = p.add_argument_group("options of more than one --method")
    for name in (name for name in names if len(owners[name]) > 1):
        every = [_flag(METHODS[method], name) for method in owners[name]]
        said = "; ".join(f"{method}: {how['help']}" for method, how in zip(owners[name], every, strict=True))
        # Values of another method are refused by the settings, which know the method.
        choices = list(dict.fromkeys(value for how in every for value in how.get("choices", ())))
        several.add_argument(_spelt(name), **{**every[0], "help": said, **({"choices": choices} if choices else {})})
    for method, options in METHODS.items():
        group = p.add_argument_group(f"--method {method}", options.summary)
        add_settings(group, options, [name for name in options.model_fields if len(owners[name]) == 1])


def _flag(settings: type[BaseModel], name: str) -> dict[str, Any]:
    """What argparse is told of a setting, by its type, its description and its default."""
    field = settings.model_fields[name]
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not NoneType]
    usual = field.get_default()
    told = usual not in (None, (), False, PydanticUndefined)
    said = f"{field.description} (default {usual})" if told else str(field.description)
    how: dict[str, Any] = {"type": kinds[0]}
    if get_origin(field.annotation) is Literal or get_origin(kinds[0]) is Literal:
        how = {"choices": kinds if get_origin(field.annotation) is Literal else get_args(kinds[0])}
    elif name == "keep" and settings is CompressConfig:
        how = {"metavar": _LISTS[name]}  # a share, or several
    elif name in _CHOICES:
        how = {"choices": _CHOICES[name]}
    elif name in _LISTS and get_origin(field.annotation) is tuple:
        how = {"metavar": _LISTS[name]}
        said = str(field.description) if usual == tuple(METHODS) else f"{field.description} (default {_joined(usual)})"
    elif get_origin(field.annotation) is tuple:
        how = {"action": "append", "metavar": "NAME"}
    elif kinds[0] is bool:
        how = {"action": _Switch}
    return {"default": None, "help": said.replace("%", "%%"), **how}  # argparse formats help texts with %


def _joined(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def _spelt(name: str) -> str:
    return f"--{name.replace('_', '-')}"
