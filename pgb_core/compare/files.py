"""How the files of a comparison are named and written."""

from __future__ import annotations

import os
from pathlib import Path


def percent(keep: float) -> str:
    """A share as names of files have it, in six digits."""
    return f"{100 * keep:g}"


def write(path: Path, text: str) -> None:
    """Whole or not at all; what UTF-8 cannot hold, such as a byte of a file's name, as an escape. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, "utf-8", "backslashreplace")
    os.replace(temporary, path)
