"""Odd checkpoints: an artifact that reads and answers as transformers does, or one plain line.

`python -m tests.odd.test_checkpoints 1000` tries that many.
"""

from __future__ import annotations

import re
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import pytest

from pgb_core.errors import PGBError
from tests.odd import checkpoints
from tests.odd.test_differential import hold

SEEDS = 48
_JARGON = re.compile(
    r"Traceback|NoneType|KeyError|TypeError|AttributeError|object has no|takes \d+ positional|got an unexpected|"
    r"unsupported operand|not subscriptable|<class|0x[0-9a-f]{6}"
)


def trial(seed: int, folder: Path, sound: Path) -> tuple[str, str | None, str | None]:
    """What was odd, the refusal if there was one, and what is wrong with what came of it."""
    what = checkpoints.make(seed, folder / "model", sound)
    task = "qa" if "-qa" in what else "classification"
    try:
        found = hold(folder / "model", folder / "out", task, 4, seed)
    except PGBError as error:
        return what, str(error), f"escaped as {type(error).__name__}"
    except Exception:
        return what, None, traceback.format_exc(limit=-4)
    left = [entry.name for entry in folder.iterdir() if entry.name not in ("model", "out")]
    if left:
        return what, found.refused, f"left behind: {left}"
    if found.refused is None:
        return what, None, f"{found.unequal} unequal" if found.unequal else None
    odd = _JARGON.search(found.refused)
    if odd or "\n" in found.refused or (folder / "out").exists():
        return what, found.refused, f"refused with {odd.group() if odd else 'more than a line'}"
    return what, found.refused, None


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sound ones are kept."""
    return tmp_path_factory.mktemp("sound")


@pytest.mark.parametrize("block", range(4))
def test_an_odd_checkpoint_is_read_right_or_refused_in_words(block: int, tmp_path: Path, sound: Path) -> None:
    """No traceback, nothing half-written, no reading that transformers does not share; and not all are refused."""
    accepted = 0
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        what, refused, wrong = trial(seed, folder, sound)
        assert wrong is None, f"seed {seed}: {what}: {refused}"
        accepted += refused is None
    assert accepted >= SEEDS // 4 // 5


def main(count: int, first: int = 1000) -> dict[str, int]:
    """So many trials; prints what went wrong."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as kept:
        for seed in range(first, first + count):
            with tempfile.TemporaryDirectory() as folder:
                what, refused, wrong = trial(seed, Path(folder), Path(kept))
            counts["refused" if refused else "accepted"] += 1
            if wrong:
                counts["wrong"] += 1
                print(f"seed {seed}: {what}\n  refused: {refused}\n  wrong: {wrong}", flush=True)
    print(dict(counts))
    return dict(counts)


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:])).get("wrong")))
