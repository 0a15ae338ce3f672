"""Methods compared under one budget: what follows from figures, and the whole on a tiny model."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgb_core.artifact import Artifact, open_artifact
from pgb_core.charts import Labels
from pgb_core.cli import main
from pgb_core.compare import points as making
from pgb_core.compare import run as comparing
from pgb_core.compare import timing
from pgb_core.compare.config import CompareConfig
from pgb_core.compare.files import write
from pgb_core.compare.page import Report, best_forms, page, picture
from pgb_core.compare.points import AS_IT_IS, Points, points
from pgb_core.compare.rows import Candidate, Point, Row, advice, fastest, frontier
from pgb_core.compare.run import table
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, ConfigError, DataError, ResourceError
from pgb_core.inference.load import load
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.measure import bench
from pgb_core.options import METHODS
from pgb_core.pipeline import compress
from pgb_core.tasks.metrics import standard_error
from tests.core.small import changed, checkpoint, instead
from tests.made import Make
from tests.reports import Heard


def candidate(score: float, time: float, form: str = "fp32", name: str = "pgb-50", dense: bool = False) -> Candidate:
    """One place in the picture."""
    return Candidate(name, "dense" if dense else "pgb", 1.0 if dense else 0.5, form, score, time, 1000, dense)


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    """Against the definition, on random places."""
    draw = np.random.default_rng(0)
    every = [candidate(draw.uniform(80, 90), draw.uniform(1, 9)) for _ in range(60)]

    def beaten(one: Candidate) -> bool:
        return any(other.time <= one.time and other.score >= one.score and other != one for other in every)

    assert {id(one) for one in frontier(every)} == {id(one) for one in every if not beaten(one)}
    assert frontier([]) == []


def test_the_fastest_within_a_drop() -> None:
    """Never one that loses more, and None where all do."""
    every = [candidate(90, 8, dense=True), candidate(89.4, 3), candidate(86, 1)]
    for drop, time in ((0.0, 8), (0.6, 3), (4.0, 1)):
        found = fastest(every, 90, drop)
        assert found is not None
        assert found.time == time
    assert fastest(every[1:], 90, 0.5) is None
    assert fastest([candidate(63.4, 3)], 64.4, 1.0)  # a point less, though 64.4 - 1.0 is above 63.4 for a computer


def test_the_standard_error_is_that_of_a_share_of_rows() -> None:
    """By simulation; none for a metric whose error is not known."""
    spread = float((np.random.default_rng(1).random((2000, 200)) < 0.8).mean(1).std()) * 100
    assert standard_error("accuracy", 80, 200) == pytest.approx(spread, rel=0.05)
    assert standard_error("perplexity", 80, 200) is None
    assert standard_error("accuracy", 80, 1) is None
    all_right, none_right = (standard_error("accuracy", score, 40) for score in (100, 0))
    assert all_right == pytest.approx(none_right)
    assert all_right == pytest.approx(100 * math.sqrt(0.5 / 40 * 39.5 / 40 / 40))


def test_the_standard_error_of_a_correlation_is_that_of_many_samples() -> None:
    """By simulation, of a strong one and of a weak one."""
    draw = np.random.default_rng(2)
    for wanted in (0.8, 0.2):
        x, noise = draw.standard_normal((2, 2000, 200))
        y = wanted * x + np.sqrt(1 - wanted**2) * noise
        found = [float(np.corrcoef(*pair)[0, 1]) for pair in zip(x, y, strict=True)]
        assert standard_error("pearson", 100 * wanted, 200) == pytest.approx(100 * np.std(found), rel=0.06)


def test_the_advice_names_what_is_faster_at_each_price() -> None:
    """And says it where nothing is."""
    dense = candidate(90, 8, "int8", "dense", dense=True)
    said = advice([dense, candidate(89.5, 4, "int8"), candidate(80, 1)], 90, 0.1, "accuracy")
    assert said[0] == "The fastest dense form is int8: 8.00 ms, accuracy 90.00."
    assert "nothing is faster than dense int8" in said[1]
    point = "pgb at 50% in int8 (folder pgb-50), 2.00 times as fast, accuracy 89.50."
    assert said[2] == f"1 point below dense at most: {point}"
    assert "not timed" in advice([candidate(90, 1)], 90, None, "accuracy")[0]
    few = advice([dense, candidate(89.5, 4, "int8")], 90, 1.0, "accuracy")
    assert few[2].startswith("1 point below dense at most (too small a loss for these rows to tell): pgb at 50%")
    assert few[1].startswith("2.0 points below dense at most (1.96 standard errors of its score): pgb")
    assert few[3].startswith("3 points below dense at most: pgb")
    assert "chosen by the rows that their scores are of" in few[4]
    assert len(advice([dense], 90, 1.0, "accuracy")) == 4


def test_of_several_seeds_the_mean_is_recommended() -> None:
    """And not the luckiest: one of three is within a point."""
    dense = candidate(90, 8, "int8", "dense", dense=True)
    seeds = [
        candidate(score, 4, "int8", name)
        for score, name in ((88, "pgb-50"), (89.5, "pgb-50-seed-1"), (87, "pgb-50-seed-2"))
    ]
    said = advice([dense, *seeds], 90, None, "accuracy")
    assert said[1] == "1 point below dense at most, nothing is faster than dense int8."
    assert said[2].endswith("pgb at 50% in int8 (folder pgb-50), 2.00 times as fast, accuracy 88.17.")
    assert said[3] == "Of several seeds the means are compared."


def test_the_console_says_how_sure_scores_and_times_are() -> None:
    """The error once below the table; a busy machine in the last line, as in the report."""
    usual = Report("m", "t", "accuracy", 200, 81.0, 2.774, [], [candidate(81, 4, dense=True)], "1x16", {}, {}, None)
    quiet, busy = table(usual).splitlines(), table(replace(usual, busy="the others")).splitlines()
    assert quiet[2] == "on 200 rows: accuracy of the dense model 81.00, standard error 2.77"
    assert busy[:-1] == quiet
    assert busy[-1].startswith("The machine was too busy for exact times: the others.")
    assert busy[-1] in page(replace(usual, busy="the others"))


def test_the_page_draws_what_each_head_is_worth_where_that_was_tried() -> None:
    """A cell a head, the worst one darkest; no section without trials."""
    plain = Row(Point("pgb", 0.5), layers=[(0.5, 0.5)])
    tried = Row(Point("kovaleva", 0.5), layers=[(0.5, 0.5)], worth=[[0.0, 0.2], [0.1, 0.05]])
    for rows, seen in (([plain], False), ([plain, tried], True)):
        found = page(Report("m", "t", "accuracy", 10, 90.0, None, rows, [], "1x16", {}, {}, None))
        assert ("What each head is worth" in found) is seen
    assert found.count("--share: 100%") == 1
    assert 'title="layer 0, head 1: 0.2000"' in found
    assert "those of the darkest have a divergence of 0.2000" in found


def test_the_report_says_where_a_point_is_and_compares_files_of_one_form() -> None:
    """And its minutes; what a method removes follows its structure, and both parts of a layer are labelled."""
    dense = Row(Point("pgb", 1.0), 1.0, seconds=60.0, bytes={"fp32": 4000, "int8": 1000})
    point = Row(Point("magnitude", 0.5), 0.5, seconds=150.0, bytes={"int8": 900}, layers=[(0.5, 0.5)])
    whole = [Candidate("dense", "dense", 1.0, form, 90, 4, size, True) for form, size in dense.bytes.items()]
    whole.append(Candidate("dense", "dense", 1.0, "fused", 90, 5, 4000, True))
    small = Candidate("magnitude-50", "magnitude", 0.5, "int8", 89, 2, 900)
    report = Report("m", "t", "accuracy", 10, 90.0, None, [dense, point], [*whole, small], "1x16", {}, {}, None)
    found = page(report)
    assert "<td>2.5</td><td>./magnitude-50</td>" in found
    assert "<td>1.0</td><td>./dense</td>" in found
    assert found.count("./dense") == 2  # the fused graph is in no folder
    assert "<td>90% of dense int8</td>" in found
    assert "<td>heads and neurons</td><td>no</td>" in found
    twice = [replace(dense, point=Point("magnitude", 1.0)), point]  # the dense point is of no method
    assert "<td>2.5</td><td class" in page(replace(report, rows=twice))
    assert '<th scope="col">A</th><th scope="col">F</th>' in found
    structures = [METHODS["magnitude"](structure=one).component for one in ("units", "weights")]
    assert structures == ["heads and neurons", "weights"]


def test_the_fastest_form_of_each_point_is_drawn_and_every_dense_one() -> None:
    """A point in two forms is one mark."""
    every = [candidate(90, 5), candidate(89, 2, "int8"), candidate(91, 9, "fp32", "dense", True)]
    every.append(candidate(91, 7, "int8", "dense", True))
    assert {(one.name, one.form) for one in best_forms(every)} == {
        ("pgb-50", "int8"),
        ("dense", "fp32"),
        ("dense", "int8"),
    }


def test_what_another_form_beats_does_not_lead() -> None:
    """A point whose fastest form scores less may beat others by a slower one, which is drawn, too."""
    every = [candidate(90, 9, dense=True), candidate(85, 2, "int8", "a"), candidate(90, 4, "fp32", "a")]
    every += [candidate(88, 5, "int8", "b"), candidate(89, 7, "fp32", "b")]
    report = Report("m", "t", "accuracy", 10, 90.0, None, [], every, "1x16", {}, {}, None)
    bold = re.findall(r'<tr class=best><th scope="row">(\w+)</th><td>(\w+)</td>', page(report))
    assert bold == [("a", "int8"), ("a", "fp32")]
    assert picture(report).count('class="mark') == 4


def test_the_points_of_a_method_stand_by_size() -> None:
    """And not by their names, of which that with 5 lies between those with 25 and 50."""
    sizes = [(0.05, "5"), (0.25, "25"), (0.5, "50"), (0.25, "25-seed-1")]
    every = [Candidate(f"pgb-{name}", "pgb", keep, "int8", 89, 2, 900) for keep, name in sizes]
    found = page(Report("m", "t", "accuracy", 10, 90.0, None, [], every, "1x16", {}, {}, None))
    assert re.findall(r'<th scope="row">pgb-([\w-]+)</th>', found) == ["50", "25", "25-seed-1", "5"]


def test_a_name_of_any_bytes_is_written(tmp_path: Path) -> None:
    """A folder's name may be no UTF-8; its report is written all the same, and it is no part of the markup."""
    name = os.fsdecode(b"m\xff<script>&100%")
    refused = Row(Point("pgb", 0.5), refused=f"{name}: damaged")
    write(
        tmp_path / "report.html",
        page(Report(name, "t", "accuracy", 10, 90.0, None, [refused], [], "1x16", {}, {}, None)),
    )
    found = (tmp_path / "report.html").read_text("utf-8")
    assert found.count("m\\udcff&lt;script&gt;&amp;100%") == 3
    assert "<script" not in found


def test_methods_that_train_before_they_cut_say_so() -> None:
    """Also those that choose without training what goes."""
    for method, options in METHODS.items():
        one = Candidate(f"{method}-50", method, 0.5, "fp32", 89, 2, 900)
        found = page(Report("m", "t", "accuracy", 10, 90.0, None, [], [one], "1x16", {}, {}, None))
        first = method in ("voita", "movement", "proximal", "layerdrop", "flop")
        assert f"<td>{options().component}</td><td>{'yes' if first else 'no'}</td>" in found


def test_a_loss_too_small_to_show_has_no_minus() -> None:
    """In the table of forms and in that of methods."""
    found = page(Report("m", "t", "accuracy", 10, 90.0, None, [], [candidate(89.999, 2)], "1x16", {}, {}, None))
    assert "+0.00" in found
    assert "-0.00" not in found


def test_labels_meet_neither_each_other_nor_a_point() -> None:
    """A point without room has none."""
    points = [(100.0, 100.0), (104.0, 102.0), (108.0, 101.0), (980.0, 300.0)]
    labels = Labels((50, 20, 1000, 500), points)
    drawn = [labels.beside(x, y, f"point {n}", "point") for n, (x, y) in enumerate(points)]
    assert 'text-anchor="end"' in drawn[3]  # right of it is the edge
    places = [re.findall(r'[xy]="([\d.]+)"', one) for one in drawn if one]
    assert len(places) == len({tuple(place) for place in places}) >= 3
    assert Labels((0, 0, 10, 10), [(5, 5)]).beside(5, 5, "far too long", "point") == ""


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A damaged one is named with its remedy."""
    row = Row(Point("pgb", 0.25, 2), 0.2501, 3.0, 61.5, {"fp32": 89.1}, {"fp32": 9}, [(0.5, 0.25)], ["few rows"])
    row.save(tmp_path)
    assert Row.load(tmp_path, row.point) == row
    assert Row.load(tmp_path, Point("pgb", 0.5)) is None
    alike = Point("pgb", 0.2500000001, 2)
    with pytest.raises(DataError, match=r"is of pgb at keep 0\.25, not of pgb at 0\.2500000001; give that size"):
        Row.load(tmp_path, alike)
    (tmp_path / f"{row.point.name}.json").write_text("{")
    with pytest.raises(DataError, match="remove it"):
        Row.load(tmp_path, row.point)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"methods": "pgb,tea"}, "unknown method 'tea'"),
        ({"methods": "pgb,pgb"}, "each once"),
        ({"keep": "0.5,1"}, "below 1"),
        ({"keep": "0.3333333,0.3333334"}, "equal in six digits"),
        ({"keep": "half"}, "keep must be a list, not 'half'"),
        ({"keep": [True]}, "keep must be"),
        ({"minutes": 1.0, "epochs": 1.0}, "are two budgets"),
        ({"methods": "pgb,movement,proximal", "epochs": 0.0}, "epochs 0: movement, proximal need training"),
        ({"train": None}, "no data"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(given: dict[str, object], said: str) -> None:
    """Before anything is read."""
    usual = {"checkpoint": "here", "out": "there", "train": "rows", "eval": "others"}
    with pytest.raises(ConfigError, match=said):
        CompareConfig(**usual | given)


def test_all_methods_at_all_sizes_are_points() -> None:
    """The large sizes first; --quick has one size and a minute, unless told otherwise."""
    usual = {"checkpoint": "here", "out": "there", "train": "rows", "eval": "others"}
    found = points(CompareConfig(**usual, keep="0.25,0.5", seeds=2))
    assert len(found) == 4 * len(METHODS)
    assert [one.keep for one in found] == sorted((one.keep for one in found), reverse=True)
    assert len({one.name for one in found}) == len(found)
    quick = CompareConfig(**usual, quick=True)
    assert (quick.keep, quick.minutes_a_point) == ((0.5,), 1.0)
    assert CompareConfig(**usual, quick=True, keep="0.3", minutes=2.0).keep == (0.3,)
    listed = CompareConfig(**usual, methods=["pgb", "flop"], keep=[0.25, 0.5])
    assert (listed.methods, listed.keep) == (("pgb", "flop"), (0.5, 0.25))


def test_the_dense_point_is_the_model_as_it_is() -> None:
    """Whichever method stands first: some train it for int8 where keep is 1."""
    usual = {"checkpoint": "here", "out": "there", "train": "rows", "eval": "others"}
    for forms in ("fp32", "fp32,int8"):  # rows that nothing learns from are no --train
        point = CompareConfig(**usual, epochs=1.0, forms=forms).point(AS_IT_IS, 1.0, 0, 1.0, "there/dense")
        assert (point.train, point.calibrate, point.trains) == (None, "rows", False)
    config = CompareConfig(**usual, methods="qbert,pgb", epochs=1.0)
    assert config.point(AS_IT_IS, 1.0, 0, 0.0, "there/dense").as_it_is
    assert not config.point("qbert", 1.0, 0, 0.0, "there/dense").as_it_is


def test_steps_are_passed_on_as_they_are() -> None:
    """However many epochs they come to."""
    usual = {"checkpoint": "here", "out": "there", "train": "rows", "eval": "others"}
    config = CompareConfig(**usual, steps=20_000)
    point = config.point("pgb", 0.5, 0, 5000.0, "there/pgb-50")
    assert (point.steps, point.trains) == (20_000, True)
    dense = config.point(AS_IT_IS, 1.0, 0, 0.0, "there/dense")
    assert (dense.steps, dense.trains) == (None, False)


@pytest.mark.parametrize(
    ("free", "most", "groups"),
    [
        (None, 99, [12, 8]),
        (1000, 99, [5, 5, 5, 5]),
        (100, 99, [1] * 20),  # one at a time, whatever there is
        (None, 6, [6, 6, 6, 2]),
        (None, 1, [1] * 20),
    ],
)
def test_as_many_are_timed_at_once_as_there_is_memory_for(
    free: int | None, most: int, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the sizes of files; where a process dies all the same, half as many from then on, and none twice."""
    monkeypatch.setattr(timing, "free_memory", lambda: free)
    timed, warned = list[list[tuple[str, str]]](), list[str]()

    def measure(group: Sequence[tuple[str, str]]) -> None:
        if len(group) > most:
            raise ResourceError("pgb-50: the timing process failed: no message")
        timed.append(list(group))

    keys = [(f"pgb-{n}", "fp32") for n in range(20)]
    timing.in_groups(dict.fromkeys(keys, 100), 500, measure, warned.append)
    assert [len(group) for group in timed] == groups
    assert [key for group in timed for key in group] == keys
    assert bool(warned) is (most < 12)
    timing.in_groups({}, 500, measure, warned.append)
    assert timed[-1] == []


def test_a_model_that_cannot_be_timed_alone_is_an_error() -> None:
    """The reason is that of its process."""

    def measure(group: Sequence[tuple[str, str]]) -> None:
        raise ResourceError("pgb-50: the timing process failed: no message")

    with pytest.raises(ResourceError, match="the timing process failed"):
        timing.in_groups({("pgb-50", "fp32"): 1}, 1, measure, lambda text: None)


def test_forms_for_a_gpu_are_not_timed_on_the_cpu(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pgb bench` has it; which they are is told, with the reason."""
    artifact, warned = make(form="gpu"), list[str]()

    def measured(models: Mapping[str, bench.Timed], shapes: Sequence[bench.Shape], *_: object) -> bench.Measured:
        return bench.Measured({name: bench.Timing(dict.fromkeys(shapes, (1.0,))) for name in models}, None)

    monkeypatch.setattr(bench, "time_in_turns", measured)
    model = str(artifact.path.parent / "model")
    found = timing.timed(model, artifact.path, {"pgb-50": artifact.path}, 1, 1.0, lambda done: None, warned.append)
    assert {name: set(forms) for name, forms in found.times.items()} == {
        "dense": {"fused", "fp32", "torch"},
        "pgb-50": {"fp32", "torch"},
    }
    assert warned == ["form gpu is not timed: it is for a GPU"]


def test_forms_of_which_none_can_be_timed_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is for a GPU, and the engine of the other is not installed."""
    config = CompareConfig(checkpoint="none", out=tmp_path, train="rows", eval="others", forms="gpu,openvino")
    monkeypatch.setitem(sys.modules, RUNTIMES["openvino"].module, None)
    with pytest.raises(ConfigError, match="timed on the CPU, and none of these runs on it here; add fp32"):
        comparing.compare(config, Heard())


def test_a_damaged_point_is_made_again_before_anything_is_timed(tmp_path: Path, texts: Path) -> None:
    """It is told first, and the others stay as they are; what may not be replaced ends the command at once."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    out = tmp_path / "compared"
    usual = {"checkpoint": str(model), "train": str(texts), "eval": str(texts), "trust_labels": True, "forms": "fp32"}
    config = CompareConfig(**usual, out=str(out), methods="magnitude", keep="0.5", epochs=0.0)
    with pytest.raises(DataError, match="nothing there"):
        Points(CompareConfig(**usual | {"eval": str(tmp_path / "nothing there.csv")}, out=str(out)), Heard())
    assert not out.exists()
    assert [row.refused for row in Points(config, Heard()).made()] == ["", ""]
    graph, manifest = (out / "magnitude-50" / name for name in ("model.onnx", "manifest.json"))
    before, dense = graph.read_bytes(), (out / "dense" / "manifest.json").stat().st_mtime_ns
    graph.write_bytes(before[:1000])
    told = Heard()
    assert [row.refused for row in Points(config, told).made()] == ["", ""]
    assert f"{out / 'magnitude-50'}: damaged and left out; the point is made again" in told.warnings
    assert graph.read_bytes() == before
    assert (out / "dense" / "manifest.json").stat().st_mtime_ns == dense
    manifest.write_text("{")
    told = Heard()
    with pytest.raises(ArtifactError, match="remove it"):
        next(Points(config, told).made())


@pytest.fixture
def config(tmp_path: Path, texts: Path) -> CompareConfig:
    """Of two methods that train nothing, on a small model."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    rows = {"train": str(texts), "eval": str(texts), "trust_labels": True}
    settings = {"methods": "magnitude,michel", "keep": "0.5", "epochs": 0.0, "forms": "fp32", "samples": 16}
    return CompareConfig(checkpoint=str(model), out=str(tmp_path / "compared"), **rows, **settings)


@pytest.mark.slow
def test_an_artifact_of_other_settings_is_no_point(config: CompareConfig) -> None:
    """Also where its row says what stood there before; what others made with the same settings is taken."""
    rows = list(Points(config, Heard()).made())
    assert [row.refused for row in rows] == ["", "", ""]
    place = Path(config.out) / "michel-50"
    before = open_artifact(place).digest
    compress(config.point("michel", 0.5, 0, 0.0, str(place)).model_copy(update={"force": True, "max_length": 16}))
    assert open_artifact(place).digest != before
    with pytest.raises(ArtifactError, match=r"michel-50: holds another .* \(max_length differ\); move it away"):
        next(Points(config, Heard()).made())
    compress(config.point("michel", 0.5, 0, 0.0, str(place)).model_copy(update={"force": True}))
    assert list(Points(config, Heard()).made()) == rows


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_memory_that_one_method_lacks_ends_no_other(
    error: Exception, config: CompareConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told and stands in its row, and the next run tries again. What is no lack of memory is a fault."""
    done, fails = making.compress, [error]

    def scarce(one: CompressConfig, *given: Any) -> Artifact:
        if one.method == "magnitude" and fails:
            raise fails[0]
        return done(one, *given)

    monkeypatch.setattr(making, "compress", scarce)
    told = Heard()
    said = "there is not enough memory for it on this machine"
    assert [row.refused for row in Points(config, told).made()] == ["", said, ""]
    assert f"magnitude-50: {said}" in told.warnings
    fails[:] = [RuntimeError("shapes differ")]
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(Points(config, told).made())
    fails.clear()
    assert [row.refused for row in Points(config, told).made()] == [""] * 3


def test_the_minutes_of_a_point_that_was_stopped_are_those_of_both_runs(
    config: CompareConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the manifest counts them, with what the stopped run had spent."""
    done = making.compress

    def resumed(one: CompressConfig, *given: Any) -> Artifact:
        found = done(one, *given)
        found.manifest.measured["seconds"] = 1000.0
        return found

    monkeypatch.setattr(making, "compress", resumed)
    assert [row.seconds for row in Points(config, Heard()).made()] == [1000.0] * 3


def test_a_budget_that_cannot_be_kept_is_told(config: CompareConfig) -> None:
    """Before the work begins, of each method that takes longer with hardly any training; and of no other."""
    short = config.model_copy(update={"epochs": None, "minutes": 1.0})
    for pace, told in ((1.0, ["magnitude-50", "michel-50"]), (1e-9, [])):
        heard = Heard()
        made = Points(short, heard)
        made.common = replace(made.common, pace=pace)
        next(made.made())
        short_of = [text.partition(":")[0] for text in heard.warnings if "the budget of a point is 1 min" in text]
        assert short_of == told
    assert config.minutes_a_point is None


def test_labels_that_contradict_the_model_stop_a_comparison_before_it_begins(tmp_path: Path, texts: Path) -> None:
    """Neither the dense point nor the beginning of the comparison is made."""
    model, out = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2), tmp_path / "compared"
    config = CompareConfig(checkpoint=str(model), out=str(out), train=str(texts), eval=str(texts), forms="fp32")
    with pytest.raises(DataError, match="the checkpoint contradicts the labels"):
        Points(config, Heard())
    assert not out.exists()


def test_a_report_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    """It is named before anything is read."""
    (tmp_path / "report.html").write_text("of a month ago")
    config = CompareConfig(checkpoint="none", out=tmp_path, train="rows", eval="others")
    with pytest.raises(ConfigError, match=r"holds report\.html and no compare\.json, so no comparison wrote it"):
        comparing.compare(config, Heard())
    assert (tmp_path / "report.html").read_text() == "of a month ago"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("config.json", {"id2label": {"0": "yes", "1": "no"}, "label2id": {"yes": 0, "no": 1}}),
        ("tokenizer_config.json", {"truncation_side": "left"}),
        ("tokenizer_config.json", {"model_max_length": 10}),
    ],
)
def test_scores_of_other_labels_or_another_tokenizer_are_not_taken(
    file: str, entry: dict[str, object], tmp_path: Path, texts: Path
) -> None:
    """Of the same weights; what does not depend on the names of labels, such as a teacher's outputs, stays known."""
    model, out = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2), tmp_path / "compared"
    changed(model / "config.json", id2label={"0": "no", "1": "yes"}, label2id={"no": 0, "yes": 1})
    lines = [json.loads(line) for line in texts.read_text().splitlines()]
    learned, held = tmp_path / "learned.txt", tmp_path / "held.jsonl"
    learned.write_text("".join(f"{line['text']}\n" for line in lines))
    held.write_text("".join(json.dumps(line | {"label": ("no", "yes")[line["label"]]}) + "\n" for line in lines))
    usual = {"checkpoint": str(model), "calibrate": str(learned), "eval": str(held), "forms": "fp32", "epochs": 0.0}
    config = CompareConfig(**usual, out=str(out), methods="magnitude", keep="0.5")
    first = Points(config, Heard())
    assert Points(config, Heard()).common == first.common
    changed(model / file, **entry)
    with pytest.raises(ConfigError, match="other settings, data, label names or tokenizer"):
        Points(config, Heard())
    other = Points(CompareConfig(**{**usual, "out": str(tmp_path / "other")}, methods="magnitude", keep="0.5"), Heard())
    if file == "config.json":
        assert other.common.dense == pytest.approx(100 - first.common.dense)
        assert other._run._teacher_key == first._run._teacher_key


@pytest.mark.slow
def test_a_comparison_ends_in_artifacts_a_picture_and_advice(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each point can be served; a second run makes only what is new; other data are refused."""
    monkeypatch.setattr(timing, "SHAPES", ((1, 16),))
    model, out = checkpoint(tmp_path / "model", "bert", "classification"), tmp_path / "compared"
    common = [str(model), "--train", str(texts), "--eval", str(texts), "--trust-labels", "--out", str(out)]
    assert main(["compare", *[str(model) if word == str(out) else word for word in common]]) == 1
    assert "is the checkpoint's directory" in capsys.readouterr().err
    common += ["--epochs", "0.5", "--samples", "16", "--seconds", "0.01", "--forms", "fp32"]
    assert main(["compare", *common, "--methods", "magnitude", "--keep", "0.5"]) == 0
    assert "The fastest dense form is" in capsys.readouterr().out
    first = (out / "magnitude-50" / "manifest.json").stat().st_mtime_ns
    took = open_artifact(out / "magnitude-50").manifest.measured["seconds"]
    (out / "magnitude-50.json").unlink()  # is written again
    shutil.rmtree(out / "dense")  # is made again
    monkeypatch.chdir(model)  # a checkpoint that is named by a point has its name in the report
    assert main(["compare", ".", *common[1:], "--methods", "magnitude,pgb", "--keep", "0.5"]) == 0
    assert (out / "magnitude-50" / "manifest.json").stat().st_mtime_ns == first
    figures = json.loads((out / "report.json").read_text())
    assert figures["name"] == "model"
    assert {row["point"]["method"] for row in figures["rows"] if row["point"]["keep"] < 1} == {"magnitude", "pgb"}
    assert {row["seconds"] for row in figures["rows"] if row["point"]["method"] == "magnitude"} == {took}
    timed = {(one["name"], one["form"]) for one in figures["candidates"]}
    assert timed == {("dense", "fused"), ("dense", "fp32"), ("magnitude-50", "fp32"), ("pgb-50", "fp32")}
    page = (out / "report.html").read_text()
    assert "magnitude-50" in page
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    with load(out / "pgb-50") as served:
        assert served("the town sang")
    capsys.readouterr()
    assert main(["compare", *instead(common, "--samples", "8"), "--methods", "pgb", "--keep", "0.5"]) == 1
    assert "other settings, data, label names or tokenizer" in capsys.readouterr().err
