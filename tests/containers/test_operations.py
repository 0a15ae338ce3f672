"""docs/operations.md against what the service and the rules really have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from service.observe.instruments import Instruments
from tests.containers.test_rules import DASHBOARD, served

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()


def alerts() -> set[str]:
    """The names of all."""
    rules = yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text())
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}


def test_every_metric_is_explained() -> None:
    """By the name under which it is scraped; and nothing is explained that is not there."""
    instruments = Instruments()
    instruments.watch(lambda: [("m", "1", 0.0, 0.0, {})])
    names = {
        family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        for family in instruments.registry.collect()
        if not family.name.startswith("process_")
    }
    rows = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `pgb_"))
    assert set(re.findall(r"`(pgb_\w+)`", rows)) == names


def test_every_alert_has_a_row() -> None:
    """And every row an alert."""
    assert set(re.findall(r"^\| `(Pgb\w+)`", PAGE, re.MULTILINE)) == alerts()


def test_every_alert_has_its_entry_of_the_runbook() -> None:
    """What it means, what to look at, what to do, and how it was caused."""
    entries = dict(re.findall(r"^### (Pgb\w+)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))
    assert set(entries) == alerts()
    for entry in entries.values():
        for part in ("*It means:*", "*Look at*", "*Do", "*Tried:*"):
            assert part in entry
        assert set(re.findall(r"\bpgb_\w+", entry.replace("STAGE", "queue"))) <= served()


def test_every_alert_was_caused_and_told_of_the_service_that_was_ill() -> None:
    """`python -m benchmarks.alerts.run ARTIFACT` wrote it."""
    found = json.loads((ROOT / "benchmarks/results/alerts.json").read_text())
    assert set(found["alerts"]) == alerts()
    for one in found["alerts"].values():
        assert one["fired"]
        assert one["of another service"] == []
    assert found["fired for the service that was well"] == []
    assert {row["panel"] for row in found["dashboard"]} == {panel["title"] for panel in DASHBOARD["panels"]}
    for row in found["dashboard"]:
        assert set(row["services"]) <= {"ill", "well"}
        assert set(row["services where one is chosen"]) <= {"well"}
