"""What the scripts share: their flags, the file of results that each keeps, and texts to send."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

TEXTS = Path("examples/data/sentiment.jsonl")


def parser(said: str | None, name: str, *shared: str, work: str | None = None) -> argparse.ArgumentParser:
    """The flags of a script.

    name: of its file of results, --out. shared: the folders beside the repository that it reads, such as models, a flag
    for each. work: what it keeps in the folder --work; without it there is no such folder.
    """
    made = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    for folder in shared:
        made.add_argument(f"--{folder}", type=Path, default=Path(f"../shared/{folder}"), help="[%(default)s]")
    if work is not None:
        made.add_argument("--work", type=Path, default=Path(f".{name}"), help=f"{work} [%(default)s]")
    out = Path(f"benchmarks/results/{name}.json")
    made.add_argument("--out", type=Path, default=out, help="file of results [%(default)s]")
    return made


def read(path: Path, empty: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of results has; `empty` when there is none yet."""
    return dict(json.loads(path.read_text("utf-8")) if path.exists() else empty)


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Write a file of results, whole."""
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def texts() -> list[str]:
    """The texts of the examples."""
    return [json.loads(line)["text"] for line in TEXTS.read_text("utf-8").splitlines()]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    with ExitStack() as stack:
        loops = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"])) for _ in range(count)
        ]
        try:
            yield
        finally:
            for loop in loops:
                loop.kill()
