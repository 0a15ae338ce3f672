"""The directory of a compression's finished stages. It is deleted only after success.

It is a hidden directory beside the output, with one file for each stage. Only one job at a time uses it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pgb_core.errors import ConfigError, ResourceError
from pgb_core.run.naming import beginning, named, sound, stage_of

_RUN = "run.json"
_RECORDS = "records.json"
_LOCK = "lock"
VARIANTS = 3  # of a stage, by other settings, that are kept side by side
_TRIES = 100  # of taking a lock that others take and remove


def key_of(*parts: object) -> str:
    """A digest of what a stage depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Workspace:
    """Stages of one output's runs; every file is complete or absent. `warn` is told what is damaged and left out."""

    def __init__(self, path: Path, warn: Callable[[str], None] = lambda text: None) -> None:
        self.path = path
        self.finished = False
        self._warn = warn

    def part(self, name: str) -> Workspace:
        """A workspace within this one, under the same lock. It goes with this one."""
        found = Workspace(self.path / name, self._warn)
        _writable(found.path)
        return found

    @property
    def empty(self) -> bool:
        """Whether no stage is kept, in none of its parts either."""
        folders = [self.path, *(entry for entry in self.path.iterdir() if entry.is_dir())] if self.path.is_dir() else []
        return not any(Workspace(folder).stages() for folder in folders)

    def run(self) -> dict[str, Any]:
        """What the run before this one was, or nothing."""
        return self._object(self.path / _RUN)

    def save_run(self, run: Mapping[str, Any]) -> None:
        """Say what this run is."""
        self._write(self.path / _RUN, lambda path: path.write_text(json.dumps(dict(run)), "utf-8"))

    def record(self, key: str) -> dict[str, Any]:
        """What a stage of that digest measured of itself, or nothing."""
        found = self._object(self.path / _RECORDS).get(key)
        return found if isinstance(found, dict) else {}

    def save_record(self, key: str, figures: Mapping[str, float]) -> None:
        """Say what a stage measured of itself."""
        known = {**self._object(self.path / _RECORDS), key: dict(figures)}
        self._write(self.path / _RECORDS, lambda path: path.write_text(json.dumps(known), "utf-8"))

    def stages(self) -> list[str]:
        """Names of the stages that are kept, of whatever run."""
        return sorted({stage_of(path) for path in self._kept()})

    def size(self, stage: str, key: str) -> int:
        """Bytes of a stage of that digest that is kept and sound; 0 for none."""
        path = self._sound(stage, key)
        return 0 if path is None else path.stat().st_size

    def tensors(self, stage: str, key: str) -> dict[str, Tensor] | None:
        """A stage's tensors, or None when it has not been done."""
        path = self._sound(stage, key)
        if path is None:
            return None
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            self._warn(f"{path}: cannot be read ({error}) and is left out")
            return None

    def save_tensors(self, stage: str, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep a stage's tensors, beside those of a few other settings."""
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        self._keep(stage, key, ".safetensors", lambda path: save_file(plain, path))

    def text(self, stage: str, key: str) -> str | None:
        """A stage's text, or None when it has not been done."""
        path = self._sound(stage, key)
        return None if path is None else path.read_text("utf-8")

    def save_text(self, stage: str, key: str, text: str) -> None:
        """Keep a stage's text, beside those of a few other settings."""
        self._keep(stage, key, ".txt", lambda path: path.write_text(text, "utf-8"))

    def clear(self) -> None:
        """Throw away every stage."""
        for path in self._kept():
            path.unlink(missing_ok=True)
        for name in (_RUN, _RECORDS):
            (self.path / name).unlink(missing_ok=True)

    def finish(self) -> None:
        """The artifact stands: nothing is kept when the lock is given back."""
        self.finished = True

    def _object(self, path: Path) -> dict[str, Any]:
        """What a JSON file says; nothing where there is none, or a damaged one, which is told."""
        if not path.exists():
            return {}
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            found = None
        if isinstance(found, dict):
            return found
        self._warn(f"{path}: damaged and left out")
        return {}

    def _kept(self) -> list[Path]:
        found = self.path.iterdir() if self.path.is_dir() else ()
        kinds = (".safetensors", ".txt")
        return [path for path in found if path.suffix in kinds and path.name[0] != "." and path.is_file()]

    def _sound(self, stage: str, key: str) -> Path | None:
        for path in self._kept():
            if not path.name.startswith(beginning(stage, key)):
                continue
            if sound(path):
                return path
            self._warn(f"{path}: damaged and left out; the stage is done again")
            path.unlink()
        return None

    def _keep(self, stage: str, key: str, suffix: str, write: Callable[[Path], object]) -> None:
        every = [path for path in self._kept() if stage_of(path) == stage]
        before = [path for path in every if path.name.startswith(beginning(stage, key))]
        others = sorted((path for path in every if path not in before), key=lambda path: path.stat().st_mtime)
        before += others[: max(0, len(others) + 1 - VARIANTS)]

        def name(path: Path) -> Path:
            return self.path / named(stage, key, path, suffix)

        kept = self._write(self.path / f".{stage}.new", write, name)
        for path in before:
            if path != kept:
                path.unlink(missing_ok=True)

    def _write(self, path: Path, write: Callable[[Path], object], name: Callable[[Path], Path] | None = None) -> Path:
        """Write beside, make sure that it is on the disk, and put it in place."""
        temporary = path if name else path.with_name(f".{path.name}.new")
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            target = name(temporary) if name else path
            os.replace(temporary, target)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error)
            raise ResourceError(
                f"{self.path}: could not be written ({'the disk is full' if full else error}); what was kept before is "
                f"still there; {'make room' if full else 'correct that'}, and the same command goes on from it"
            ) from error
        return target


@contextmanager
def locked(out: Path, warn: Callable[[str], None] = lambda text: None) -> Iterator[Workspace]:
    """The workspace of an output, for this process alone; it goes afterwards when it is finished or keeps no stage.

    Raises ConfigError when another job holds it, ResourceError when it cannot be written.
    """
    path = out.parent / f".{out.name}.work"
    made = [parent for parent in (out.parent, *out.parent.parents) if not parent.exists()]
    lock = _acquire(path, out)
    workspace = Workspace(path, warn)
    try:
        yield workspace
    finally:
        if workspace.finished or workspace.empty:
            _remove(path, made)
        os.close(lock)


def _remove(path: Path, made: Sequence[Path]) -> None:
    """The directory, its lock last: who comes between makes a new one; and parents that were made and are empty.

    What the run said of itself goes before the lock: by it the next run knows that the artifact is that of this one.
    """
    with suppress(FileNotFoundError):  # somebody removed it while it was used
        for entry in sorted(path.iterdir(), key=lambda entry: entry.name == _RUN):
            if entry.name != _LOCK:
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
        (path / _LOCK).unlink()
    for folder in (path, *made):
        with suppress(OSError):
            folder.rmdir()


def check_space(folder: Path, needed: int) -> None:
    """Raises ResourceError when a file system has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"{folder}: {free / 1e9:.2f} GB are free and the run needs {needed / 1e9:.2f} GB; make room, or choose "
            "another --out"
        )


def to_device(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copies on a device."""
    return {name: value.to(device) for name, value in tensors.items()}


def _writable(path: Path) -> None:
    """Make a directory, where there is none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error


def _acquire(path: Path, out: Path) -> int:
    """The lock's file, held; a holder that ends removes the directory, so the file held must still be the one there."""
    for _ in range(_TRIES):
        _writable(path)
        try:
            descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            continue  # removed by the job that held it
        except OSError as error:
            raise ResourceError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path / _LOCK)):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConfigError(f"{out}: another job is writing to this --out; wait for it, or choose another") from error
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(descriptor)
            raise ResourceError(
                f"{path}: its file system has no locks ({error.strerror}); choose an --out on another"
            ) from error
        os.close(descriptor)
    raise ResourceError(f"{path}: no lock could be had in it; choose another --out")
