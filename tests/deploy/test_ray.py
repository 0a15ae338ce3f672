"""Two replicas on two nodes, one of which is killed. Runs where ray is installed, or where RAY_PYTHON names the
interpreter of an environment that has it: `make ray` makes one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.served import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(artifacts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The figures of one run of the benchmark, shorter."""
    python = os.environ.get("RAY_PYTHON") or (sys.executable if importlib.util.find_spec("ray") else None)
    if python is None:
        pytest.skip("ray is not installed; make ray")
    out = tmp_path_factory.mktemp("ray") / "out.json"
    load = ("--rate", "20", "--seconds", "24", "--rounds", "1", "--only-service", "--port", str(free_port()))
    command = [python, "-m", "benchmarks.ray_kill", str(artifacts[0]), *load, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = json.loads(out.read_text())["rounds"]["service"]
    return found


def test_both_replicas_answer(run: Any) -> None:
    """Each has counted inputs of its own by the time that one is killed."""
    assert len(run["inputs_by_replica_before"]) == 2
    assert min(run["inputs_by_replica_before"]) > 0


def test_nothing_is_lost_but_what_the_killed_node_held(run: Any) -> None:
    """Every other request is answered, none twice differently, and none fails that was sent once Ray knew."""
    assert run["sent"] == 480
    assert run["lost_in_flight"] <= run["in_flight_at_the_kill"]
    assert run["lost_in_flight"] + run["lost_after"] + run["answered"] == run["sent"]
    assert run["seconds_from_kill_to_last_failure"] < 15
    assert run["texts_with_different_answers"] == 0
    assert set(run["outcomes"]) <= {"200", "500"}


def test_a_fresh_node_gets_a_replica(run: Any) -> None:
    """Without anyone asking for it."""
    assert run["seconds_from_new_node_to_two_replicas"] < 120
