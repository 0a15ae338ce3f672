"""The search as a command: one directory for what is tried, and one artifact in the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pgb_core.artifact import MANIFEST, Artifact, repair, sha256_of
from pgb_core.config import CompressConfig
from pgb_core.export.card import measured_anew
from pgb_core.progress.report import Report
from pgb_core.run.output import check_place
from pgb_core.run.workspace import locked
from pgb_core.seek.checks import check_forms, check_free
from pgb_core.seek.promise import Promise
from pgb_core.seek.search import Seeker
from pgb_core.threads import threads

_PUBLISHED = "published"  # the digest of the artifact that a search is about to put in place


def seek(config: CompressConfig, report: Report) -> tuple[Artifact, Promise]:
    """Find the size that `max_drop` and `min_speedup` ask for, and put its artifact at `out`. Raises PGBError.

    Every size that was tried is kept beside `out`, with its stages, until the artifact stands: the same command goes on
    from there.
    """
    check_place(config.out, config.checkpoint, config.cache)
    out = Path(config.out)
    with locked(out, report.warn), threads(config.threads), _tried_beside(out) as folder:
        mended = repair(out)
        if mended:
            report.warn(mended)
        _tidy(out, folder)
        check_free(config)
        check_forms(config, report)
        seeker = Seeker(config, folder, report)
        found = seeker.found()
        check_free(config)  # once more: the search may have taken hours
        promise = {"promise": {**asdict(found), "holds": found.holds}}

        def ready(digest: str) -> None:
            (folder / _PUBLISHED).write_text(digest, "utf-8")

        return measured_anew(seeker.place(found.keep), promise, out, ready), found


def _tidy(out: Path, sizes: Path) -> None:
    """Remove what a search had tried that was stopped after its artifact stood."""
    published = sizes / _PUBLISHED
    if published.exists() and (out / MANIFEST).exists() and published.read_text() == sha256_of(out / MANIFEST):
        shutil.rmtree(sizes)


@contextmanager
def _tried_beside(out: Path) -> Iterator[Path]:
    """A directory for the sizes that are tried; whoever makes the first one makes it.

    It goes when the artifact stands. When something failed, it stays if it holds anything.
    """
    folder, done = out.parent / f".{out.name}.sizes", False
    try:
        yield folder
        done = True
    finally:
        if done or not any(path.is_file() for path in folder.rglob("*")):
            shutil.rmtree(folder, ignore_errors=True)
