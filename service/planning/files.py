"""Reads files of requests and of texts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgb_core.errors import DataError


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file with their lines. Raises DataError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                reader = csv.DictReader(file)
                for record in reader:
                    yield reader.line_num, {**record, "lengths": (record.get("lengths") or "").split()}
                return
            for place, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DataError(f"{path}:{place}: a line holds one JSON object")
                    yield place, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, csv.Error):  # ValueError: no UTF-8, no JSON, or a number of too many digits
        raise DataError(f"{path}: is neither JSON lines nor CSV (.csv) in UTF-8") from None


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file as rows with a `text`. Raises DataError."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for place, line in enumerate(file, 1):
                if line.strip():
                    yield place, {"text": line.strip()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8") from None
