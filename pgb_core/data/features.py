"""Label names that a dataset brings itself: ClassLabel of the package `datasets`, as its exports contain it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgb_core.data.rows import Named


def names_of(feature: object) -> list[str] | None:
    """The names of a ClassLabel, or of a list of them, from the JSON that describes a column; None of any other."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if isinstance(feature, Mapping) and isinstance(feature.get("feature"), Mapping):
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" else None
    good = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    return names if good else None


def with_names(row: Mapping[str, Any], names: Mapping[str, list[str]]) -> Mapping[str, Any]:
    """A row whose numbers, in a column with names, are labels that know both. -1 is none, as `datasets` has it."""
    if not names:
        return row
    return {column: _label(value, names[column]) if column in names else value for column, value in row.items()}


def _label(value: object, names: list[str]) -> object:
    if isinstance(value, (list, tuple)):
        return [_label(item, names) for item in value]
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if value == -1:
        return None
    return Named(names[value], value) if 0 <= value < len(names) else value
