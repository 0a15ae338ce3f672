"""Prometheus' rules, by Prometheus' own tool, and the names in them by ours."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from service.observe.instruments import Instruments

DOCKER = Path(__file__).parents[2] / "docker"
RULES = DOCKER / "prometheus" / "rules.yml"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "service.json").read_text())
Tool = Callable[..., subprocess.CompletedProcess[str]]


def rules() -> list[dict[str, object]]:
    """All of them, in order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    """Of every panel."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def shown(query: str, interval: str) -> str:
    """A query as Grafana sends it where every variable is set to All, or with none left as it was."""
    query = re.sub(r"\$(namespace|service|model)\b", ".*", query.replace("$__rate_interval", interval))
    assert "$" not in query
    return query


def served() -> set[str]:
    """Every series that the service can expose: of histograms, counters and gauges."""
    instruments = Instruments()
    instruments.watch(lambda: [("m", "1", 0.0, 0.0, {})])
    found = set()
    for family in instruments.registry.collect():
        suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}.get(family.type, ("",))
        found |= {family.name + suffix for suffix in suffixes}
    return found


def test_the_rules_hold(promtool: Tool) -> None:
    """Each alert fires when it should, not before, not otherwise, and says what to do."""
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid(promtool: Tool) -> None:
    """With the rules that it names."""
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    """In both directions: a time at which it fires, and one at which it does not."""
    cases = yaml.safe_load((RULES.parent / "rules_test.yml").read_text())["tests"]
    checked = [case for test in cases for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in checked if case.get("exp_alerts")}
    quiet = {case["alertname"] for case in checked if not case.get("exp_alerts")}
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert fires == alerts
    assert quiet == alerts


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    """One severity of two, a summary, an action."""
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
            assert set(rule["annotations"]) == {"summary", "action"}  # type: ignore[call-overload]


@pytest.mark.parametrize("source", ["rules", "dashboard"])
def test_every_figure_asked_for_exists(source: str) -> None:
    """A metric that is renamed leaves no rule and no panel empty."""
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}
    text = "\n".join(queries() if source == "dashboard" else (str(rule["expr"]) for rule in rules()))
    named = set(re.findall(r"\b(?:pgb_|pgb:|process_)[\w:]+", text))
    assert named
    assert named <= served() | recorded


def test_every_selector_names_the_service() -> None:
    """Rules leave room for the chart to name it; the dashboard has it from its variables."""
    chosen = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(chosen) == ["datasource", "namespace", "service", "model"]
    assert chosen["namespace"]["allValue"] == chosen["service"]["allValue"] == ".*"
    (alerts,) = DASHBOARD["annotations"]["list"]
    own = 'job="pgb", namespace=~"$namespace", service=~"$service"'
    for texts, begins in (
        ([str(rule["expr"]) for rule in rules()], 'job="pgb"'),
        ([*queries(), alerts["expr"], chosen["model"]["query"]["query"]], own),
    ):
        for text in texts:
            series = re.findall(r"(?:\bup|\bpgb[_:][\w:]+|\bprocess_\w+|\bALERTS)\b(?!:)", text)
            selectors = re.findall(r"\{([^}]*)\}", text)
            assert len(series) == len(selectors) > 0, text
            assert all(begins in selector for selector in selectors), text


def test_every_figure_is_of_one_service() -> None:
    """No sum, quantile, least or most runs over services, and a pod is of one; each panel says whose its lines are."""
    texts = [str(rule["expr"]) for rule in rules()] + queries()
    for text in texts:
        for kept in re.findall(r"\b(?:sum|min|max|avg|count)\b(?: by \(([^)]*)\))?", text):
            assert set(kept.split(", ")) >= {"namespace", "service"} or kept == "namespace, pod", text
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            assert target["legendFormat"].startswith("{{namespace}}/{{service}}")
            assert target.get("datasource", panel["datasource"])["uid"] == "${datasource}"


def test_panels_explain_themselves_and_do_not_overlap() -> None:
    """Each has its own id, a title, a description and a place."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(panel["title"] and panel["description"].endswith(".") for panel in panels)
