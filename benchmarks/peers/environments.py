"""An environment of its own for each rival, from PyPI. One that is there and has the same requirements is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.rival import Rival

_READY = "requirements.txt"


class NotInstalledError(Exception):
    """An environment that pip did not make; the end of what it said is the message."""


def environment(rival: Rival, folder: Path) -> Path:
    """The interpreter of the rival's environment in this folder, made if it is missing. Raises NotInstalledError."""
    if not rival.requirements:
        return Path(sys.executable)
    place = folder / rival.package
    python, ready = place / "bin" / "python", place / _READY
    wanted = "".join(f"{line}\n" for line in rival.requirements)
    if python.exists() and ready.exists() and ready.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *rival.requirements]
    done = subprocess.run(
        pip, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=lambda: os.nice(10)
    )
    if done.returncode:
        raise NotInstalledError(done.stdout[-2000:])
    ready.write_text(wanted, "utf-8")
    return python


def installed(python: Path) -> dict[str, str]:
    """The version of every package of an environment."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found: dict[str, str] = json.loads(subprocess.check_output([str(python), "-c", code]))
    return dict(sorted(found.items()))
