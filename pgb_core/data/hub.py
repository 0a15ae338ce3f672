"""A dataset of the hub by name: `name[:config][:split]`, with or without an owner, and `owner/name/config`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgb_core.data.features import with_names
from pgb_core.data.packed import MOST_ROWS
from pgb_core.data.rows import Record, Records
from pgb_core.data.words import shown, some
from pgb_core.errors import DataError

_COLON = re.compile(r":(?![^\[]*\])")  # outside train[:100]
_SPLIT = re.compile(r"(train|validation|test)\b.*")


# Of data files. A dataset on the hub may have another one in its name, such as `owner/texts-v1.1`.
ENDINGS = (
    *(".tsv", ".csv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet"),
    *(".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"),
    *(".arrow", ".feather", ".xlsx", ".xls", ".pkl"),
)


@dataclass(frozen=True)
class HubSplit:
    """What the hub gave, and what was asked of it."""

    rows: Iterable[Mapping[str, Any]]
    repo: str
    config: str | None
    split: str


def check_name(name: str) -> None:
    """Raises DataError for the path of a file, which is no name of a dataset."""
    ending = Path(name).suffix.lower()
    if ending in ENDINGS or name.startswith((".", "/")) or (ending and "/" not in name):
        raise DataError(f"{name}: no such file; give the path of a data file, or a hub dataset by name")


def load(name: str, split: str) -> HubSplit:
    """The dataset, as the package `datasets` gives it. split: where the name says none. Raises DataError."""
    check_name(name)
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name}: no such file; a hub dataset is read with the package 'datasets': pip install '.[hub]' in a clone"
        ) from error
    repo, config, part = _parsed(datasets, name)
    return _get(datasets, name, repo, config, part or split)


def _get(datasets: Any, name: str, repo: str, config: str | None, split: str) -> HubSplit:
    """The dataset, or where there is none as `owner/name` the dataset `owner` with the config `name`."""
    try:
        return HubSplit(datasets.load_dataset(repo, config, split=split), repo, config, split)
    except Exception as error:
        first, slash, second = repo.partition("/")
        if config is None and slash and type(error).__name__ == "DatasetNotFoundError":
            return _get(datasets, name, first, second, split)
        raise DataError(f"{name}: {_why(datasets, (repo, config, split), error)}") from error


def _parsed(datasets: Any, name: str) -> tuple[str, str | None, str | None]:
    """The dataset, its config and its split. One word after a colon is a split where it is no config."""
    repo, *said = _COLON.split(name)
    parts = repo.split("/")
    config = parts.pop() if len(parts) == 3 else None
    repo = "/".join(parts)
    if len(parts) > 2 or len(said) > (1 if config else 2) or not all([*parts, *said]):
        raise DataError(f"{name}: no such file, nor a name of a dataset; write one as owner/name[:config][:split]")
    if config is not None or not said:
        return repo, config, said[0] if said else None
    if len(said) == 2:
        return repo, said[0], said[1]
    if not _SPLIT.fullmatch(said[0]) and said[0] in _asked(datasets, "get_dataset_config_names", repo):
        return repo, said[0], None
    return repo, None, said[0]


def _asked(datasets: Any, question: str, *about: str | None) -> list[str]:
    """Names that the hub has; none where it does not answer."""
    try:
        return [str(name) for name in getattr(datasets, question)(*about)]
    except Exception:
        return []


def _why(datasets: Any, asked: tuple[str, str | None, str], error: Exception) -> str:
    repo, config, split = asked
    said = str(error)
    if isinstance(error, ValueError) and ("Config name is missing" in said or "BuilderConfig" in said):
        names = _asked(datasets, "get_dataset_config_names", repo)
        if config is not None:
            return f"has no config {shown(config)}; name one of {some(names)}"
        return f"has several configs, {some(names)}; name one, as {repo}:{names[0] if names else 'config'}"
    if isinstance(error, ValueError) and "Unknown split" in said:
        names = _asked(datasets, "get_dataset_split_names", repo, config)
        return (
            f"has no split {shown(split)}; name one of {some(names)}, as {':'.join(filter(None, (repo, config)))}:..."
        )
    return f"neither a file here nor a dataset that the hub gave ({type(error).__name__})"


def hub_records(name: str, loaded: HubSplit) -> Records:
    """Rows by column; a number whose column has names becomes a label that knows both."""
    features = getattr(loaded.rows, "features", None) or {}
    names: dict[str, list[str]] = {}
    for column, feature in features.items():
        feature = feature[0] if isinstance(feature, list) and feature else feature
        found = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if found:
            names[column] = list(found)
    rows = []
    for n, raw in enumerate(loaded.rows):
        if n == MOST_ROWS:
            raise DataError(f"{name}: has more than {MOST_ROWS:,} rows; take fewer, as {name}[:100000]")
        rows.append(Record(with_names(raw, names), f"{name}[{n}]"))
    config = f", config {shown(loaded.config)}" if loaded.config else ""
    about = f", split {shown(loaded.split)} of {loaded.repo}{config}"
    return Records(name, tuple(dict.fromkeys(key for row in rows for key in row.values)), rows, about)
