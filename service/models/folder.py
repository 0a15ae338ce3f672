"""The folder of models: the names and versions that can be loaded from it, and where each lies."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from pgb_core.artifact import MANIFEST
from service.errors import LoadFailed, UnknownModel

NO_FOLDER = "the folder of models cannot be read"
_BOTH = "holds an artifact, and versions beside it; move the artifact into the folder of a version, or name a version"
_NAME = re.compile(r"(?!\.)[\w.-]+")
_PARTS = re.compile(r"\d+|\D+")  # of the name of a version


def check(folder: Path) -> None:
    """Raises LoadFailed unless it is a folder whose names can be read."""
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        raise LoadFailed(
            f"models_dir: {folder} cannot be read as a folder ({_reason(error)}); mount it, or leave it out"
        ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def folders(folder: Path) -> list[str]:
    """What may be a model: neither hidden nor, like the lost+found of a volume, without a name that one can have."""
    return sorted(entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name) and _is_folder(entry))


def _is_folder(entry: Path) -> bool:
    """Whether it is a folder. What cannot be looked at counts, such as a mount that is gone or a link to nothing: its
    load fails with the reason, and the others can be loaded."""
    try:
        return entry.is_dir() or _leads_nowhere(entry)
    except OSError:
        return True


def _leads_nowhere(entry: Path) -> bool:
    return entry.is_symlink() and not entry.exists()


def passed_over(folder: Path) -> list[Path]:
    """Artifacts that can never be loaded, because no model, or no version of one, can have the name of their folder.
    What is hidden is meant to be passed over."""
    every = [one for top in _shown(folder) for one in (top, *_shown(top))]
    odd = [one for one in every if not all(map(_NAME.fullmatch, one.relative_to(folder).parts))]
    return [one for one in odd if os.path.isfile(one / MANIFEST)]


def _shown(folder: Path) -> list[Path]:
    """What is in a folder and not hidden; nothing where it cannot be read, or is none."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _versions(root: Path) -> list[str]:
    """The versions that a model's folder holds under their names, the latest first."""
    return sorted([entry for entry in folders(root) if _holds(root / entry)], key=_age, reverse=True)


def _holds(folder: Path) -> bool:
    """Whether an artifact is there. What cannot be looked into counts, as in `_is_folder`."""
    try:
        return (folder / MANIFEST).is_file() or _leads_nowhere(folder)
    except OSError:
        return True


def _age(version: str) -> tuple[list[tuple[bool, int, str]], str]:
    """What versions are sorted by: their numbers count as numbers, and a number comes after any other part."""
    parts = _PARTS.findall(version)
    return [(True, int(part), "") if part.isdecimal() else (False, 0, part) for part in parts], version


def loadable(folder: Path) -> list[tuple[str, str]]:
    """Every name and version that can be loaded; no version where the artifact lies in the folder of the name."""
    found: list[tuple[str, str]] = []
    for name in folders(folder):
        with suppress(OSError):  # it goes while we look, or cannot be read, and could not be loaded either
            if (folder / name / MANIFEST).is_file():
                found.append((name, ""))
            found += [(name, version) for version in reversed(_versions(folder / name))]
    return found


def labels(folder: Path, name: str) -> list[str | None]:
    """What `find` takes for the versions of a name, the latest first; None is an artifact in the folder of the name.

    Raises UnknownModel where there is none, LoadFailed where the folder cannot be read, or holds both.
    """
    try:
        plain = (folder / name / MANIFEST).is_file()
        found: list[str | None] = [*_versions(folder / name)]
    except OSError as error:
        raise LoadFailed(f"{error.filename or folder / name}: cannot be read ({_reason(error)})") from error
    if plain and found:
        raise LoadFailed(f"{folder / name}: {_BOTH}")
    if not plain and not found:
        raise UnknownModel("the folder of models holds no version of that model")
    return found or [None]


def find(folder: Path, name: str, version: str | None) -> tuple[Path, str | None]:
    """The artifact's folder, and its version where the folder says it. Names are compared, never joined.

    Raises UnknownModel, or LoadFailed where the folder cannot be read, or which artifact is meant is not known.
    """
    try:
        known = name in folders(folder)
    except OSError as error:
        raise LoadFailed(NO_FOLDER) from error
    if not known:
        raise UnknownModel("the folder of models holds no model of that name")
    root = folder / name
    try:
        plain = version is None and (root / MANIFEST).is_file()
        versions = _versions(root)
    except OSError as error:
        raise LoadFailed(f"the folder of the model cannot be read ({_reason(error)})") from error
    if plain and versions:
        raise LoadFailed(f"the folder of the model: {_BOTH}")
    if plain:
        return root, None
    if version is None and versions:
        version = versions[0]
    if version not in versions:
        raise UnknownModel("the folder of models holds no such version of that model")
    return root / version, version


def version_of(artifact: Path, folder: Path, name: str) -> str | None:
    """The version that an artifact is of a name in the folder of models; None if it lies elsewhere."""
    inside = artifact.parent.resolve() == (folder / name).resolve()
    return artifact.name if inside and _NAME.fullmatch(artifact.name) else None
