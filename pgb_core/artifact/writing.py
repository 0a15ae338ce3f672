"""Writes an artifact, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pgb_core.artifact.manifest import MAX_MANIFEST_BYTES, Manifest
from pgb_core.artifact.names import MANIFEST, inside
from pgb_core.artifact.place import scratch_beside, swap, unwritten
from pgb_core.artifact.reading import Artifact
from pgb_core.errors import ArtifactError


def write_artifact(
    path: str | Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    ready: Callable[[str], None] = lambda digest: None,
) -> Artifact:
    """Write everything to a directory beside `path`, then move it into place in one step.

    Replaces an artifact that stands there, and nothing else. ready: called with the digest of the manifest when all is
    written and nothing is in place yet; what it raises ends the writing. Raises ArtifactError or ResourceError.
    """
    root = Path(path)
    check_replaceable(root)
    with _staged(root) as staging:
        hashes = {}
        for name, content in files.items():
            _written(inside(staging, name), content)
            hashes[name] = hashlib.sha256(content).hexdigest()
        complete = replace(manifest, files=hashes).checked()
        content = complete.to_json().encode()
        if len(content) > MAX_MANIFEST_BYTES:
            raise ArtifactError(
                f"{root}: its manifest would have {len(content)} bytes, at most {MAX_MANIFEST_BYTES} are read; "
                "give the checkpoint's labels shorter names"
            )
        _written(staging / MANIFEST, content)
        digest = hashlib.sha256(content).hexdigest()
        ready(digest)
    return Artifact(root, complete, digest)


def check_replaceable(path: str | Path) -> None:
    """Raises ArtifactError unless nothing stands there, an empty directory, or an artifact and nothing beside it."""
    root = Path(path)
    if not root.exists() and not root.is_symlink():
        return
    other = "choose another --out or remove it"
    if root.is_symlink():
        raise ArtifactError(f"{root}: exists and is no artifact but a link; name what it leads to, or {other}")
    if not root.is_dir():
        raise ArtifactError(f"{root}: exists and is no artifact but a file; {other}")
    if os.path.ismount(root):
        raise ArtifactError(f"{root}: is a mount point, which cannot be replaced; name a directory in it")
    names = {entry.name for entry in root.iterdir()}
    if not names:
        return
    if MANIFEST not in names:
        raise ArtifactError(f"{root}: exists and is no artifact; {other}")
    try:
        written = Manifest.from_json((root / MANIFEST).read_text("utf-8")).files
    except (OSError, UnicodeDecodeError, ArtifactError) as error:
        why = str(error).partition(";")[0] if isinstance(error, ArtifactError) else f"its {MANIFEST} cannot be read"
        raise ArtifactError(f"{root}: exists and is no artifact that this version reads ({why}); {other}") from error
    strange = sorted(names - {MANIFEST, *written})
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ArtifactError(
            f"{root}: holds {ascii(strange[0])[1:-1]}{more} beside the files of an artifact, so it is not replaced; "
            "move that away, or choose another --out"
        )


@contextmanager
def _staged(root: Path) -> Iterator[Path]:
    """A folder that is put in the artifact's place at the end. Raises ResourceError."""
    with scratch_beside(root) as scratch:
        staging = scratch / "made"  # a scratch folder is private; an artifact is as open as the umask says
        try:
            staging.mkdir()
            yield staging
            swap(staging, root)
        except OSError as error:
            raise unwritten(root, error) from error


def _written(path: Path, content: bytes) -> None:
    """A file whose bytes are on the disk, not only on their way there."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
