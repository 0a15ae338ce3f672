"""Settings from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from pgb_core.config.compress import CompressConfig
from pgb_core.errors import ConfigError

# Settings that replace one another.
_INSTEAD = (
    {"steps", "epochs"},
    *({size, goal} for size in ("keep", "further") for goal in ("max_drop", "min_speedup")),
    {"keep", "further"},
)


def _without(settings: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def from_toml(path: str | Path, **overrides: Any) -> CompressConfig:
    """Read settings from a TOML file with the same names; arguments that are not None win.

    An argument also replaces what it cannot stand beside: `steps` replaces the `epochs` of the file.

    Raises ConfigError when the file is missing, malformed or names an unknown setting.
    """
    try:
        raw = tomllib.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start} of the file; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:  # also of too many digits, of too many brackets
        raise ConfigError(f"{path}: not TOML ({error}); correct that") from error
    given = {name: value for name, value in overrides.items() if value is not None}
    if isinstance(raw.get("options"), dict):
        raw["options"] = _without(raw["options"], given)
    replaced = {name for group in _INSTEAD for one in group & given.keys() for name in group - {one}}
    try:
        return CompressConfig(**_without(raw, replaced) | given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
