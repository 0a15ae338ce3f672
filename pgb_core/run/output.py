"""Where an artifact may go: settled before the work begins, and held to at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pgb_core.artifact import MANIFEST, check_replaceable, open_artifact, writable
from pgb_core.errors import ArtifactError, ConfigError


@dataclass(frozen=True)
class Standing:
    """The artifact that stands at an output, by the digest of its manifest; None for none."""

    digest: str | None


def check_place(out: str | Path, checkpoint: str | Path) -> None:
    """Raises ConfigError or ArtifactError when an artifact must not be written there."""
    root = Path(out)
    if not root.name.isprintable() or not writable(root.name):
        raise ConfigError(f"--out {str(out)!a}: the name must be printable text in UTF-8, for the artifact bears it")
    where = root.resolve()
    here = Path.cwd().resolve()
    if where == here or where in here.parents:
        raise ConfigError(f"--out {out}: is the directory that this command runs in, or above it; name a new one in it")
    source = Path(checkpoint)
    if source.exists():
        source = source.resolve()
        if where == source or where in source.parents or source in where.parents:
            raise ConfigError(f"--out {out}: is the checkpoint's directory, inside it or above it; choose another")
    check_replaceable(root)


def standing(out: str | Path) -> Standing:
    """What stands at an output."""
    root = Path(out)
    if not (root / MANIFEST).exists():
        return Standing(None)
    try:
        return Standing(open_artifact(root).digest)
    except ArtifactError:
        return Standing("damaged")


def check_standing(out: str | Path, before: Standing, force: bool) -> None:
    """Raises ArtifactError when an artifact stands there that nobody said may go."""
    if before.digest is not None and not force:
        raise ArtifactError(
            f"{out}: holds an artifact; --force replaces it when the new one is done, or choose another"
        )


def check_unchanged(out: str | Path, before: Standing) -> None:
    """Raises ArtifactError when something else stands at an output than when the run began."""
    check_replaceable(out)
    if standing(out) != before:
        raise ArtifactError(
            f"{out}: something appeared there while the run went on; move it away and go on with --resume"
        )
