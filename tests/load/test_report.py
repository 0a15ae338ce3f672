"""What the report makes of made-up figures."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import findings, pictures
from benchmarks.load.report import render
from pgb_core.charts import Scale, number

NAMES = ("dense", "keep 0.5", "keep 0.12")


def steady(share: float, of: str, full: float, p50: float) -> dict[str, Any]:
    """A run at a share of a capacity."""
    return {
        "share": share,
        "of": of,
        "offered": share * full,
        "goodput": share * full,
        "refused_share": 0.0,
        "requests": 321,
        "never_sent": 0,
        "failed": 0,
        "p50": p50,
        "p90": 2 * p50,
        "p99": 3 * p50,
        "stages": {"tokenize": 1.0, "queue": p50 / 4, "infer": p50 / 2, "postprocess": 0.1, "network": 1.0},
    }


def buckets(capacity: float) -> list[dict[str, Any]]:
    """Ten seconds with a spike in the third and fourth; slow for two seconds after it."""
    found = []
    for n in range(10):
        offered = int(capacity * (4 if n in (2, 3) else 0.5))
        refused = max(0, offered - int(1.5 * capacity))
        p99 = 1500.0 if 2 <= n <= 5 else 20.0
        found.append({"second": n, "offered": offered, "answered": offered - refused, "refused": refused})
        found[-1] |= {"p50": p99 / 2, "p90": p99 * 0.9, "p99": p99}
    return found


def one_set(name: str, capacity: float, p50: float) -> dict[str, Any]:
    """All scenarios of one set; the dense one has 211 texts a second."""
    rungs = [steady(share, "own", capacity, p50) for share in (0.2, 0.95)]
    if name != "dense":
        rungs += [steady(share, "dense", 211.0, p50) for share in (0.2, 0.95)]
    overload = [
        steady(1, "own", capacity, 400.0)
        | {
            "times": times,
            "offered": times * capacity / 2,
            "refused_share": 1 - 1 / times,
            "goodput": 0.97 * capacity / 2,
        }
        for times in (2, 5)
    ]
    task = {"p50": p50, "p90": 2 * p50, "p99": 4321.0}
    return {
        "name": name,
        "kept": 0.5,
        "capacity": capacity,
        "overload_capacity": 0.5 * capacity,
        "steady": rungs,
        "overload": overload,
        "ramp": buckets(capacity),
        "spike": buckets(capacity),
        "ready_seconds": 1.5,
        "rss_mb": 345,
        "mix": {"requests_per_second": 10.5, "classify": task, "answer": task},
        "leave": overload[0] | {"left": 1234, "spared": 5.6},
    }


@pytest.fixture
def figures() -> dict[str, Any]:
    """Three sets, nothing missed."""
    return {
        "machine": {"cpu": "A <fast> & quiet processor", "cores": 2, "cores_of_service": 1},
        "quick": False,
        "seconds": 480,
        "rows": 4,
        "bound_seconds": 2.0,
        "margin_seconds": 0.5,
        "patience_ms": 150,
        "checked": 99,
        "missed": [],
        "sets": [
            one_set(name, full, p50) for name, full, p50 in zip(NAMES, (211.0, 422.0, 1055.0), (40, 20, 8), strict=True)
        ],
    }


def parsed(page: str) -> ElementTree.Element:
    """The page as XML; an unclosed element or a bare ampersand is an error."""
    return ElementTree.fromstring(page.removeprefix("<!doctype html>\n"))  # noqa: S314 - our own page


def words(page: str) -> str:
    """All text of the page."""
    return " ".join("".join(parsed(page).itertext()).split())


def test_the_page_is_well_formed_and_refers_to_nothing_outside(figures: dict[str, Any]) -> None:
    """Every element closes, every text is escaped, and no attribute or rule of style names another file."""
    figures["sets"][1]["name"] = "half & <half>"
    page = render(figures)
    root = parsed(page)
    outside = {"src", "href", "action", "data", "srcset"}
    assert not [element.tag for element in root.iter() if outside & set(element.attrib)]
    assert not [
        element.tag for element in root.iter() if element.tag.rpartition("}")[2] in ("script", "link", "iframe")
    ]
    assert not re.search(r"url\(|@import", page)
    assert "A <fast> & quiet processor" in words(page)
    assert "half & <half>" in words(page)


def test_the_numbers_shown_are_those_given(figures: dict[str, Any]) -> None:
    """Capacities with their ratio, p99 at the dense model's rate, what left, and the machine."""
    shown = words(render(figures))
    for part in (
        "dense answers 211, keep 0.5 answers 422 and keep 0.12 answers 1,055 texts a second",
        "= 1.0 : 2.0 : 5.0",
        "At 200 texts a second, 95% of what dense can do, p99 is 120 ms with dense, 60 ms with keep 0.5 and 24 ms",
        "dense 97%, keep 0.5 97% and keep 0.12 97%",
        "99 of 99 checks held",
        "1,234 left and 5.6 s of compute",
        "p99 of classification and of answers is 4,321 and 4,321 ms with dense",
        "345 MB after load",
    ):
        assert part in shown, part


def test_what_was_missed_stands_on_the_page(figures: dict[str, Any]) -> None:
    """A threshold that did not hold is named, and no longer counted as held."""
    figures["missed"] = ["dense, 5 x overload: p(99)<2500 does not hold"]
    shown = words(render(figures))
    assert "98 of 99 checks held" in shown
    assert "dense, 5 x overload: p(99)<2500 does not hold" in shown


@pytest.mark.parametrize(
    "scenario", ["capacity", "overload_capacity", "steady", "overload", "ramp", "spike", "mix", "leave"]
)
def test_a_scenario_that_is_absent_leaves_the_rest(figures: dict[str, Any], scenario: str) -> None:
    """The page stays well-formed, with fewer pictures or sentences, whether of one set or of all."""
    whole = render(figures)
    partly = copy.deepcopy(figures)
    partly["sets"][1].pop(scenario)
    parsed(render(partly))
    for found in figures["sets"]:
        found[scenario] = [] if isinstance(found[scenario], list) else None
    page = render(figures)
    parsed(page)
    assert len(page) < len(whole)


def test_nothing_measured_is_said(figures: dict[str, Any]) -> None:
    """Without any set the page says so."""
    assert "Nothing was measured." in words(render({**figures, "sets": []}))
    assert "Nothing was measured." in words(render({}))


def test_latencies_that_nobody_measured_are_left_out(figures: dict[str, Any]) -> None:
    """A run of which nothing was accepted has no point and a dash."""
    for run in figures["sets"][0]["steady"]:
        run |= {"p50": None, "p90": None, "p99": None, "requests": 0}
    page = render(figures)
    parsed(page)
    assert page.count("dense, 42 texts/s: p99") == 0
    assert "\u2013" in words(page)


def test_a_stack_of_stages_is_as_high_as_their_sum(figures: dict[str, Any]) -> None:
    """Bars of one stack meet, and their heights are in proportion to the means."""
    picture = parsed(pictures.stages(figures["sets"][:1]))
    found = [e for e in picture.iter() if (e.get("class") or "").startswith("stage ")]
    first = found[: len(pictures.STAGES)]
    heights = {e.get("class", "").split()[1]: float(e.get("height", 0)) for e in first}
    assert heights["infer"] == pytest.approx(2 * heights["queue"], rel=0.02)
    for lower, upper in pairwise(first):
        bottom = float(upper.get("y", 0)) + float(upper.get("height", 0))
        assert bottom == pytest.approx(float(lower.get("y", 0)), abs=0.2)


def test_recovery_counts_from_the_end_of_the_spike(figures: dict[str, Any]) -> None:
    """Slow for two seconds after it; None when it never comes back."""
    series = figures["sets"][0]["spike"]
    assert findings.recovery(series) == 2
    series[-1]["p50"] = 900.0
    assert findings.recovery(series) is None


def test_a_disturbed_machine_is_told(figures: dict[str, Any]) -> None:
    """More answered than the capacity says means that the capacity was measured while something else ran."""
    assert findings.disturbed(figures["sets"]) == ""
    figures["sets"][2]["overload"][1]["goodput"] = 2000.0  # of larger requests
    assert findings.disturbed(figures["sets"]) == ""
    figures["sets"][2]["steady"][1]["goodput"] = 2000.0
    assert "keep 0.12 later answered 2,000 texts/s, 1,055 at first" in words(render(figures))


def test_a_logarithmic_scale_has_equal_steps_for_equal_ratios() -> None:
    """And what lies outside is drawn at its end."""
    scale = Scale(1, 1000, 300, 0, log=True)
    assert [scale(value) for value in (1, 10, 100, 1000)] == [300, 200, 100, 0]
    assert (scale(0.001), scale(1e9)) == (300, 0)
    assert {1, 10, 100, 1000} <= set(scale.ticks())
    assert Scale(0, 10, 0, 1).ticks(5) == [0, 2, 4, 6, 8, 10]


def test_a_colour_means_one_thing() -> None:
    """Sets of models, stages and refusals, in the light and in the dark."""
    style = Path(findings.__file__).with_name("report.css").read_text("utf-8")
    named = dict(re.findall(r"--(c\d|bad): light-dark\(([^)]+)\)", style))
    named |= dict(re.findall(rf"\.({'|'.join(pictures.STAGES)}) {{ fill: light-dark\(([^)]+)\)", style))
    assert len(named) == 4 + 1 + len(pictures.STAGES)
    for scheme in (0, 1):
        colours = {name: bytes.fromhex(both.split(", ")[scheme][1:]) for name, both in named.items()}
        for (one, a), (other, b) in combinations(colours.items(), 2):
            assert sum(abs(x - y) for x, y in zip(a, b, strict=True)) > 60, (one, other)


def test_numbers_are_short() -> None:
    """Three digits or so."""
    shown = [number(value) for value in (1234.5, 56.7, 9.96, 7.89, 0.123, 0, None)]
    assert shown == ["1,234", "57", "10", "7.9", "0.12", "0", "\u2013"]
