"""docs/operations.md against what the service and the rules really have."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from service.observe.instruments import Instruments

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()


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
    rules = yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert set(re.findall(r"^\| `(Pgb\w+)`", PAGE, re.MULTILINE)) == alerts
