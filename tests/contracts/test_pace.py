"""`--fast` and `--lf` are what a developer's minute needs, and marks that are not true are named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ALONE = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
CONFTEST = """
from tests import pace
pytest_plugins = ["tests.pace"]
pace.SLOW, pace.FAST = 0.2, {fast}
"""
COSTLY = """
import time

def test_costly():
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass

def test_next():
    pass
"""
OTHERS = """
import subprocess
import pytest

def test_starts_a_process():
    subprocess.run(["true"])

@pytest.mark.slow
def test_marked():
    pass

def test_plain():
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small suite, whose costly file is the first."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: of the suite\n")
    (tmp_path / "test_a.py").write_text(COSTLY)
    (tmp_path / "test_b.py").write_text(OTHERS)
    return tmp_path


def said(folder: Path, *options: str, fast: float = 60.0) -> str:
    """What a run of the suite prints."""
    (folder / "conftest.py").write_text(CONFTEST.format(fast=fast))
    command = [sys.executable, "-m", "pytest", "-v", *options]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **ALONE}, capture_output=True, text=True)
    return done.stdout


def test_fast_is_what_is_cheap_and_starts_nothing(folder: Path) -> None:
    """By what the tests cost when they ran before; whatever the time is, one test is run."""
    whole = said(folder)
    assert "5 passed" in whole
    assert "slow: test_a.py::test_costly took 0.3 s of the processor and is not marked slow" in whole
    assert "slow: test_b.py::test_marked took 0.0 s of the processor and is marked slow" in whole
    assert "test_next took" not in whole
    fast = said(folder, "--fast")
    assert "test_b.py::test_starts_a_process SKIPPED (starts a process)" in fast
    assert "3 passed, 1 skipped, 1 deselected" in fast
    assert fast.index("test_b.py::test_plain") < fast.index("test_a.py::test_costly")
    over = said(folder, "--fast", fast=0.0)
    assert "--fast: 3 tests were left out after 0 s" in over
    assert "1 skipped, 1 deselected" in over


def test_what_failed_last_can_be_run_alone(pytestconfig: pytest.Config) -> None:
    """`--lf` needs pytest's cache, which the settings of this project leave on."""
    assert pytestconfig.pluginmanager.hasplugin("lfplugin")


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["test", "TEST=tests/a.py::test_b -x"], "-m pytest tests/a.py::test_b -x"),
        (["test"], "-m pytest"),
        (["fast"], "-m pytest --fast"),
        (["fmt"], "ruff format ."),
    ],
)
def test_the_developer_s_commands_run_what_they_say(words: list[str], runs: str) -> None:
    """With the test and the options that are given; only the whole of `make test` lints."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    # These tests may run under make themselves, whose settings are not those of this one.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "TEST"}
    command = [make, "-n", *words]
    done = subprocess.run(command, cwd=ALONE["PYTHONPATH"], env=alone, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith(runs)
    assert ("make lint" in done.stdout or "hadolint Dockerfile" in done.stdout) == (words == ["test"])
