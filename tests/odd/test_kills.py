"""Kills at random instants and disks that fill up: the next run gives the same artifact, and none is ever lost.

`python -m tests.odd.test_kills 200` kills that many runs, and fills a small file system at every size on the way.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import PGBError
from pgb_core.pipeline import compress
from tests.core.small import WORDS, checkpoint

MEGABYTE = 1 << 20


@dataclass
class Kills:
    """What came of the kills."""

    runs: int = 0
    kills: int = 0
    with_old: int = 0
    lost: int = 0
    unequal: int = 0


@dataclass
class Full:
    """What came of the disks."""

    sizes: int = 0
    failed: int = 0
    unequal: int = 0
    half_written: int = 0


def small_run(folder: Path) -> CompressConfig:
    """A run of a few seconds, of all stages."""
    model = checkpoint(folder / "model", "bert", "classification", num_hidden_layers=2, hidden_size=48)
    data = folder / "rows.jsonl"
    rows = [{"text": f"the {a} was {b}", "label": n % 2} for n, a in enumerate(WORDS) for b in WORDS[:6]]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    quick = {
        "keep": 0.5,
        "epochs": 2.0,
        "samples": 48,
        "tokens": 256,
        "passes": 2,
        "checkpoint_every": 2,
        "forms": "fp32",
    }
    place = {"checkpoint": str(model), "out": str(folder / "out"), "train": str(data)}
    return CompressConfig(**place, device="cpu", trust_labels=True, **quick)


def in_child(work: Callable[[], object]) -> int:
    """Start it in a process of its own, which has nothing to import."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        work()
        code = 0
    finally:
        os._exit(code)


def changed(config: CompressConfig, **settings: object) -> CompressConfig:
    """The same run with other settings."""
    return config.model_copy(update=settings)


def kill_runs(config: CompressConfig, count: int, seed: int = 0) -> Kills:
    """Kill runs, some of them again when they are resumed, until `count` kills; then let each end."""
    rng = random.Random(seed)  # noqa: S311 - instants, no secrets
    found = Kills()
    out = Path(config.out)
    began = time.monotonic()
    child = in_child(lambda: compress(changed(config, out=str(out.with_name("straight")))))
    assert os.waitpid(child, 0)[1] == 0
    length = time.monotonic() - began
    wanted = open_artifact(out.with_name("straight")).manifest.digest
    old = open_artifact(out.with_name("straight"))
    while found.kills < count:
        found.runs += 1
        standing = found.runs % 2 == 0
        subprocess.run(["rm", "-rf", str(out)], check=True)  # noqa: S607
        if standing:
            found.with_old += 1
            subprocess.run(["cp", "-r", str(old.path), str(out)], check=True)  # noqa: S607
        for _ in range(rng.choice((1, 1, 2, 3))):
            # Half of them near the end, where artifacts change places.
            instant = length * (rng.random() if rng.random() < 0.5 else 0.7 + 0.35 * rng.random())
            child = in_child(partial(compress, changed(config, force=standing)))
            time.sleep(instant)
            os.kill(child, signal.SIGKILL)
            killed = os.waitpid(child, 0)[1] == signal.SIGKILL
            found.kills += killed
            if out.exists() or standing:
                found.lost += not _sound(out)
            if not killed:
                break
        if killed:
            complete = out.exists() and not any(out.parent.glob(".out.work/*"))  # killed when all was put away
            resumed = in_child(partial(compress, changed(config, resume=True, force=standing)))
            found.unequal += os.waitpid(resumed, 0)[1] != 0 and not complete
        found.unequal += open_artifact(out).manifest.digest != wanted
        found.unequal += any(entry.name.startswith(".out") for entry in out.parent.iterdir())
    return found


def _sound(out: Path) -> bool:
    try:
        open_artifact(out)
    except PGBError:
        return False
    return True


@contextmanager
def file_system(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes. Skips the test where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here; run as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


def fill_disks(config: CompressConfig, folder: Path, sizes: list[int]) -> Full:
    """Run on disks of these sizes, then give each disk room and go on."""
    found = Full()
    wanted = compress(changed(config, out=str(folder / "straight"))).manifest.digest
    for size in sizes:
        found.sizes += 1
        with file_system(folder / f"disk-{size}", size) as disk:
            out = disk / "out"
            try:
                compress(changed(config, out=str(out)))
            except PGBError:
                found.failed += 1
                found.half_written += out.exists() or any(disk.glob(".out.new-*"))
            room = ["mount", "-o", f"remount,size={64 * MEGABYTE}", str(disk)]
            subprocess.run(room, check=True)
            if not out.exists():
                compress(changed(config, out=str(out)))
            found.unequal += open_artifact(out).manifest.digest != wanted
            found.half_written += [entry.name for entry in disk.iterdir()] != ["out"]
    return found


@contextmanager
def unchecked() -> Iterator[None]:
    """Runs do not look first whether a disk has room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgb_core.run.output.check_space", lambda folder, needed: None)
        yield


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_artifact(tmp_path: Path) -> None:
    """At random instants, some of them twice; an artifact that stood there before is never lost."""
    script = "import sys; from tests.odd.test_kills import main; sys.exit(main(4, []))"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "lost=0, unequal=0" in done.stdout


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_done(tmp_path: Path) -> None:
    """Wherever it fills: an error, nothing half-written, and with room the same artifact."""
    with unchecked():
        found = fill_disks(small_run(tmp_path), tmp_path, [16 << 10, 300 << 10, 900 << 10])
    assert (found.unequal, found.half_written) == (0, 0)
    assert found.failed >= 2


def main(count: int, sizes: list[int]) -> int:
    """Both, in a folder of its own; 1 when anything was lost or unequal."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = small_run(Path(folder))
        kills = kill_runs(config, count)
        print(kills, flush=True)
        full = Full()
        if sizes:
            with unchecked():
                full = fill_disks(config, Path(folder) / "disks", sizes)
            print(full, flush=True)
    return int(bool(kills.lost or kills.unequal or full.unequal or full.half_written))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), [n * 40 << 10 for n in range(1, 60)]))
