"""Each part of what an artifact can be trusted for, into benchmarks/results/trust.json.

    python -m benchmarks.trust.run differential odd kills disks
    python -m benchmarks.trust.run shared two     # on a machine that does nothing else

`--code FOLDER --part before` measures `shared` with another checkout's code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import script
from pgb_core.artifact import open_artifact
from pgb_core.machine import facts

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/trust.json"
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared"))


def keep(name: str, found: object) -> None:
    """Put one part into the results file."""
    before = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    before[name] = {"machine": facts(), "found": found}
    RESULTS.write_text(json.dumps(before, indent=1, allow_nan=False) + "\n", "utf-8")
    print(name, json.dumps(found), flush=True)


def differential(count: int) -> None:
    """Texts and pairs through transformers and through the artifact."""
    from tests.odd.test_differential import main
    from tests.odd.variants import VARIANTS

    architectures = {variant.name: variant.architecture for variant in VARIANTS}
    rows = {name: {**asdict(found), "architecture": architectures[name]} for name, found in main(count).items()}
    for row in rows.values():  # not where the checkpoint stood
        row["refused"] = row["refused"] and re.sub(r"^\S*/model\b", "model", row["refused"])
    keep("differential", {"texts_each": count, "variants": rows})


def odd(count: int) -> None:
    """Odd checkpoints, and twice as many odd data files."""
    from tests.odd import test_checkpoints, test_data_files

    started = time.perf_counter()
    found = test_checkpoints.main(count)
    print(f"{time.perf_counter() - started:.0f} s", flush=True)
    keep("odd", {"checkpoints": found, "data_files": test_data_files.trials(2 * count)})


def kills(count: int) -> None:
    """Runs killed at random instants."""
    from tests.odd.test_kills import kill_runs, small_run

    with tempfile.TemporaryDirectory() as folder:
        keep("kills", asdict(kill_runs(small_run(Path(folder)), count)))


def disks(count: int) -> None:
    """File systems of `count` sizes that fill up on the way."""
    from tests.odd.test_kills import fill_disks, small_run, unchecked

    with tempfile.TemporaryDirectory() as folder, unchecked():
        sizes = [n * 40 << 10 for n in range(1, count + 1)]
        keep("disks", asdict(fill_disks(small_run(Path(folder)), Path(folder) / "disks", sizes)))


def job(folder: Path, code: Path) -> subprocess.Popen[bytes]:
    """A short compression of a real checkpoint of six layers."""
    rows = folder / "rows.tsv"
    lines = (SHARED / "data/glue/sst2/train.tsv").read_text("utf-8").splitlines()
    rows.write_text("\n".join(lines[:401]) + "\n", "utf-8")
    config = folder / "run.toml"
    config.write_text("samples = 96\n")
    command = [sys.executable, "-P", "-m", "pgb_core.cli", "compress", str(SHARED / "models/minilm-l6-sst2")]
    command += ["--train", str(rows), "--config", str(config), "--epochs", "1", "--out", str(folder / "out")]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def shared(part: str, code: Path) -> None:
    """One job alone, and beside six processes that compute."""
    found: dict[str, Any] = {}
    for name, others in (("quiet", 0), ("beside six", 6), ("quiet again", 0)):
        with tempfile.TemporaryDirectory() as folder, script.busy(others):
            started = time.perf_counter()
            code_of_exit = job(Path(folder), code).wait()
            found[name] = {"seconds": round(time.perf_counter() - started, 1), "exit": code_of_exit}
        print(name, found[name], flush=True)
    quiet = min(found["quiet"]["seconds"], found["quiet again"]["seconds"])
    keep(f"shared_{part}", {**found, "times_quiet": round(found["beside six"]["seconds"] / quiet, 2)})


def two() -> None:
    """Two jobs with one output, a second apart."""
    with tempfile.TemporaryDirectory() as folder:
        first = job(Path(folder), ROOT)
        time.sleep(1)
        started = time.perf_counter()
        second = job(Path(folder), ROOT)
        refused = second.wait()
        seconds = time.perf_counter() - started
        done = first.wait()
        open_artifact(Path(folder) / "out")
        keep("two", {"first_exit": done, "second_exit": refused, "second_refused_after_s": round(seconds, 1)})


def main() -> None:
    """The parts that were named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+")
    parser.add_argument("--count", type=int, help="of texts, checkpoints, kills or sizes")
    parser.add_argument("--part", default="after", help="of shared: before or after")
    parser.add_argument("--code", type=Path, default=ROOT, help="of shared: whose code")
    args = parser.parse_args()
    counted: dict[str, tuple[Callable[[int], None], int]] = {
        "differential": (differential, 2000),
        "odd": (odd, 1000),
        "kills": (kills, 200),
        "disks": (disks, 60),
    }
    for name in args.parts:
        if name in counted:
            torch.set_num_threads(1)
            measure, usual = counted[name]
            measure(args.count or usual)
        elif name == "shared":
            shared(args.part, args.code.resolve())
        elif name == "two":
            two()
        else:
            parser.error(f"{name}: unknown part")


if __name__ == "__main__":
    main()
