"""Where an artifact stands: another directory is put in its place in one step, and what a kill left is removed."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgb_core.errors import ResourceError

# How the names end of what a writer has beside an artifact: as mkdtemp makes them, and with the number of a process.
_LEFT = {"new": re.compile("[a-z0-9_]{8}"), "old": re.compile("[0-9]+")}


def unwritten(root: Path, error: OSError) -> ResourceError:
    """What to say where an artifact could not be written. The same command goes on; another --out would begin anew."""
    remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "correct that"
    return ResourceError(
        f"{root}: could not be written ({error.strerror}), and nothing was left behind; {remedy}, and run the same "
        "command again"
    )


@contextmanager
def scratch_beside(path: str | Path) -> Iterator[Path]:
    """A folder beside an artifact's place, on the same disk, that is gone afterwards. Raises ResourceError.

    `repair` removes it where a kill left it.
    """
    root = Path(path)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        found = Path(tempfile.mkdtemp(prefix=_beside(root, "new"), dir=root.parent))
    except OSError as error:
        raise unwritten(root, error) from error
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)


def swap(staging: Path, root: Path) -> None:
    """Put one directory in the place of another: in one step where the system has one, else in two.

    Between the two steps a kill leaves no artifact; `repair` puts the old one back.
    """
    if not root.exists():
        staging.rename(root)
        return
    if _exchanged(staging, root):
        return  # the old one is what is removed now
    old = root.parent / f"{_beside(root, 'old')}{os.getpid()}"
    root.rename(old)
    try:
        staging.rename(root)
    except OSError:
        old.rename(root)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Whether Linux could exchange two names in one step (renameat2 with RENAME_EXCHANGE)."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(call(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)


def repair(path: str | Path) -> str | None:
    """Tidy up after a writer that was killed: put back the artifact that it had moved away, remove what it left.

    Only for who holds the output's lock. Returns what was done, in words, or None.
    """
    root = Path(path)
    if not root.parent.is_dir():
        return None
    left, old = list(_left_beside(root, "new")), list(_left_beside(root, "old"))
    done = None
    if old and not root.exists():
        old.pop().rename(root)
        done = f"{root}: a writer was killed while it replaced this artifact; the old one is back"
    for entry in (*left, *old):
        shutil.rmtree(entry, ignore_errors=True)
    return done


def _left_beside(root: Path, kind: str) -> Iterator[Path]:
    """Directories whose names are exactly those that a writer gives: another output may have a name that begins so."""
    begin = _beside(root, kind)
    for entry in root.parent.iterdir():
        ending = entry.name.removeprefix(begin)
        made = entry.name.startswith(begin) and _LEFT[kind].fullmatch(ending)
        if made and entry.is_dir() and not entry.is_symlink():
            yield entry


def _beside(root: Path, kind: str) -> str:
    """How the names begin of what a writer has beside an artifact for a moment."""
    return f".{root.name}.{kind}-"
