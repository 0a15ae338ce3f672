"""A cache of stages that depend only on a checkpoint and its data, such as scores. It outlives a run.

There is one directory for all runs of a user, with one file for each stage. The least recently used files are deleted
first; other files that lie there, such as somebody's weights, are not touched. If the cache fails, a run only has to do
the stage again.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pgb_core.run.naming import beginning, is_stage, named, sound

MOST_BYTES = 2 << 30
LEFT_SECONDS = 3600.0  # after which what is being saved counts as left behind
_SUFFIX, _NEW = ".safetensors", ".new-"
_LEFT = re.compile(rf"{re.escape(_NEW)}[a-z0-9_]{{8}}")  # as TemporaryDirectory names them


def usual_place() -> Path | None:
    """What PGB_CACHE names, else `pgb-serve` in the user's cache directory (XDG Base Directory Specification).

    None where PGB_CACHE is empty, and for a user who has no home directory, such as a number without a name.
    """
    told = os.environ.get("PGB_CACHE")
    if told is not None:
        return Path(os.path.expanduser(told)) if told else None
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgb-serve"
    except RuntimeError:
        return None


def place_of(named: str | None) -> Path | None:
    """The directory of the cache. named: by --cache; None for the usual place, empty for no cache at all."""
    if named is None:
        return usual_place()
    return Path(named) if named else None


class Cache:
    """Tensors of stages by their digest, in a directory that holds at most so many bytes."""

    def __init__(self, folder: Path, most: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most = most

    def tensors(self, stage: str, key: str) -> dict[str, Tensor] | None:
        """A stage's tensors, or None when they are not there, or damaged."""
        for path in self._files(beginning(stage, key)):
            with suppress(OSError, SafetensorError):
                if sound(path):
                    found = load_file(path)
                    with suppress(OSError):  # the cache may be only readable
                        os.utime(path)
                    return found
            with suppress(OSError):
                path.unlink()
        return None

    def size(self, stage: str, key: str) -> int:
        """Bytes of a stage's file that is there and sound; 0 for none."""
        with suppress(OSError):
            return max((path.stat().st_size for path in self._files(beginning(stage, key)) if sound(path)), default=0)
        return 0

    def save(self, stage: str, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep a stage's tensors in place of those that are there, unless there are none, they are larger than all
        there is room for, or cannot be written.
        """
        if not tensors or sum(value.nbytes for value in tensors.values()) > self._most:
            return
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with suppress(OSError, SafetensorError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=_NEW) as temporary:
                path = Path(temporary) / "stage"
                save_file(plain, path)
                kept = self._folder / named(stage, key, path, _SUFFIX)
                os.replace(path, kept)
            for before in self._files(beginning(stage, key)):
                if before != kept:
                    before.unlink(missing_ok=True)
            self._trim()

    def _files(self, prefix: str = "") -> list[Path]:
        with suppress(OSError):
            every = self._folder.glob(f"*{_SUFFIX}")
            return [path for path in every if is_stage(path) and path.name.startswith(prefix)]
        return []

    def _trim(self) -> None:
        """Remove what a run left that was killed while it saved, and what was used longest ago until the rest fits."""
        for left in self._folder.glob(f"{_NEW}*"):
            if _LEFT.fullmatch(left.name) and time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        known = sorted(((path.stat(), path) for path in self._files()), key=lambda pair: pair[0].st_mtime)
        held = sum(stat.st_size for stat, _ in known)
        for stat, path in known:
            if held <= self._most:
                return
            path.unlink(missing_ok=True)
            held -= stat.st_size
