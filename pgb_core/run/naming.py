"""Names the files of finished stages: STAGE-KEY-CONTENT, with a suffix for the format.

KEY is the digest of what the stage depends on, CONTENT that of the file's own bytes. So a stage of other settings, or a
damaged one, is never used.
"""

from __future__ import annotations

import re
from pathlib import Path

from pgb_core.artifact import sha256_of

_SHORT = 32  # characters of a digest in a name
_NAMED = re.compile(rf".+-[0-9a-f]{{{_SHORT}}}-[0-9a-f]{{{_SHORT}}}\.\w+")


def beginning(stage: str, key: str) -> str:
    """What the names of a stage begin with."""
    return f"{stage}-{key[:_SHORT]}-"


def named(stage: str, key: str, written: Path, suffix: str) -> str:
    """The name for a stage that was written to a file."""
    return f"{beginning(stage, key)}{sha256_of(written)[:_SHORT]}{suffix}"


def is_stage(path: Path) -> bool:
    """Whether a file has a name as these are."""
    return _NAMED.fullmatch(path.name) is not None


def stage_of(path: Path) -> str:
    """The stage that a file is named after."""
    return path.stem.rsplit("-", 2)[0]


def sound(path: Path) -> bool:
    """Whether a file has the bytes that its name tells of. Raises OSError when it cannot be read."""
    return path.stem.endswith(f"-{sha256_of(path)[:_SHORT]}")
