"""Side by side, in turns, and honest about a busy machine."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pgb_core.artifact import Artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.errors import ResourceError
from pgb_core.export.forms import FORMS, FUSED
from pgb_core.measure import bench, comparison, contention
from pgb_core.measure.bench import Timed, Timing
from pgb_core.measure.comparison import DENSE, DENSE_FORMS, Comparison
from pgb_core.measure.contention import Conditions, Counted, too_busy
from tests.core.small import checkpoint
from tests.made import Make, rewritten

# Ten seconds of two workers in turn, two threads each, on a quiet machine of four cores.
QUIET = Conditions(10.0, 2, 4, own=18.0, waited=0.1, machine=Counted(18.4, 0.02), spread=0.03)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"waited": None, "machine": None, "spread": None}, None),
        ({"machine": Counted(38.0, 0.0)}, None),  # others, on cores that were to spare
        ({"machine": Counted(48.0, 0.0)}, "other processes used 3.0 of 4 cores"),
        ({"cores": 2, "machine": Counted(22.0, 0.0)}, "other processes used 0.4 of 2 cores"),
        ({"own": 9.0, "waited": 9.0}, "threads were ready and did not run 50% of the time"),
        ({"machine": Counted(18.4, 4.0)}, "the hypervisor took 10% of the cores"),
        ({"spread": 0.4}, "the ratios of turns differ by 40%"),
        ({"machine": None, "waited": None, "spread": 2.0}, "the ratios of turns differ by 200%"),
    ],
)
def test_a_busy_machine_is_known_by_what_was_counted(changes: dict[str, object], reason: str | None) -> None:
    """By any one sign; what the system does not tell is no sign."""
    assert too_busy(replace(QUIET, **changes)) == reason  # type: ignore[arg-type]


def test_counts_of_the_kernel_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds, without idle time; None where there are none."""
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    (tmp_path / "stat").write_text("cpu  1000 10 200 5000 50 5 15 300 7 0\ncpu0 1 2 3\n")
    monkeypatch.setattr(contention, "_STAT", tmp_path / "stat")
    assert contention.machine_time() == Counted(12.3, 3.0)
    for task, delay in (("7", 1_500_000_000), ("8", 250_000_000)):
        (tmp_path / "task" / task).mkdir(parents=True)
        (tmp_path / "task" / task / "schedstat").write_text(f"123 {delay} 45\n")
    monkeypatch.setattr(contention, "_TASKS", tmp_path / "task")
    assert contention.waited() == 1.75
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  9000 kB\nVmRSS:\t  7500 kB\n")
    monkeypatch.setattr(contention, "_STATUS", tmp_path / "status")
    assert contention.held() == 7.5
    monkeypatch.setattr(contention, "_STAT", tmp_path / "none")
    monkeypatch.setattr(contention, "_TASKS", tmp_path / "none")
    monkeypatch.setattr(contention, "_STATUS", tmp_path / "none")
    assert contention.machine_time() is None
    assert contention.waited() is None
    assert contention.held() is None


def test_a_busy_moment_does_not_move_the_ratio() -> None:
    """It meets neighbouring turns alike, and shows in the spread of the times."""
    shape = (1, 8)
    slow = np.array([1.0] * 6 + [5.0] * 4)
    half, whole = Timing({shape: tuple(2 * slow)}), Timing({shape: tuple(4 * slow)})
    assert half.ratio(whole, shape) == 2
    assert half.ratio_range(whole, shape) == (2, 2)
    assert (half.minimum(shape), half.median(shape), half.p90(shape)) == (2, 2, 10)


def test_the_figures_say_when_they_are_not_to_be_trusted() -> None:
    """In JSON, beside the ratios to the fastest dense form, and what does not run here."""
    shape = (1, 8)
    lines = {"fp32": (2.0, 2.0), DENSE[0]: (4.0, 5.0), DENSE[1]: (3.0, 9.0)}
    timings = {name: Timing({shape: turns}) for name, turns in lines.items()}
    found = Comparison((shape,), timings, 2, "the others").as_json()
    assert (found["busy"], found["reason"]) == (True, "the others")
    [row] = found["rows"]  # type: ignore[misc]
    assert row["milliseconds"] == {"fp32": 2, DENSE[0]: 4, DENSE[1]: 3}
    assert row["fastest_dense"] == DENSE[1]
    assert row["speedup"] == {"fp32": 3, DENSE[0]: 1.275, DENSE[1]: 1}
    assert row["turns"] == 2
    assert Comparison((shape,), {"fp32": timings["fp32"]}, 2).as_json()["busy"] is False


def test_the_table_fits_a_narrow_terminal_and_leaves_out_ratios_without_meaning() -> None:
    """Every cell is there at any width; ratios that differ twofold are left out where the machine was too busy."""
    shapes = ((1, 32), (1, 128), (8, 128))
    timings = {
        "dense openvino-int8": Timing(dict.fromkeys(shapes, (4.0, 4.0))),
        "int8": Timing({shapes[0]: (2.0, 2.0), shapes[1]: (1.0, 90.0), shapes[2]: (1.0, 1.0)}),
    }
    found = Comparison(shapes, timings, 2, lost={"int8": {"drop": 0.25}}, memory={"int8": 90.0})
    wide, narrow = comparison.table(found), comparison.table(found, 80)
    assert len([line for line in wide.splitlines() if line.startswith("int8")]) == 1
    assert max(map(len, narrow.splitlines()[:-1])) <= 80
    assert sorted(set(narrow.split())) == sorted(set(wide.split()))
    assert comparison.table(found, 1000) == wide
    assert "(0.44-3.60)" in wide
    assert " 0.00 points" in comparison.table(replace(found, lost={"int8": {"drop": -0.001}}))
    busy = comparison.table(replace(found, busy="the others"))
    assert "1.00 unsteady" in busy
    assert "unsteady: no ratio is told" in busy
    assert "2.00 2.00x (2.00-2.00)" in busy
    assert "Ratios" not in comparison.table(replace(found, timings={"int8": timings["int8"]}))


def test_the_dense_model_is_timed_in_every_form() -> None:
    """On a device that runs the form; a new form on the CPU."""
    for form in (*FORMS.values(), *FUSED.values()):
        assert form.dense
        assert set(form.dense) <= set(form.devices)
        assert all(form.name in DENSE_FORMS[device] for device in form.dense)


def test_a_form_that_this_version_does_not_make_is_timed_as_its_manifest_says(make: Make, tmp_path: Path) -> None:
    """Somebody's own form, or one of a later version: by its runtime and its devices, as the service runs it."""
    known = make().form("fp32")
    forms = {"own": known, "own-gpu": replace(known, devices=("cuda", "cpu"))}
    here, left_out = comparison.running(rewritten(make(), tmp_path / "own", {}, forms=forms), "cpu")
    assert here == ["own"]
    assert left_out == {"own-gpu": "it is for a GPU"}


def test_a_rival_that_the_artifact_was_not_made_of_is_told(few_words: Artifact, tmp_path: Path) -> None:
    """Below the table and in JSON: the ratios may be wanted, but not without a word."""
    assert comparison._unlike(few_words, load_checkpoint(few_words.path.parent / "model")) is None
    other = load_checkpoint(checkpoint(tmp_path / "other", "bert", "classification"))
    bare = replace(few_words, manifest=replace(few_words.manifest, provenance={}))
    told = comparison._unlike(bare, other)
    assert told == "the manifest of out does not say what checkpoint it was made of; ratios may be of two models"
    said = comparison._unlike(few_words, other)
    assert said is not None
    assert said.startswith("other is not the checkpoint that out was made of: the sha256 of its weights is ")
    assert other.digest[:12] in said
    assert few_words.manifest.provenance["checkpoint_sha256"][:12] in said
    found = Comparison(((1, 8),), {"fp32": Timing({(1, 8): (2.0,)})}, 1, unlike=said)
    assert said in comparison.table(found)
    assert found.as_json()["unlike"] == said


def test_models_that_do_not_fit_into_memory_together_are_not_opened(
    few_words: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would end one of them, or another program; where the system does not tell, they are."""
    monkeypatch.setattr(bench, "free_memory", lambda: 400_000_000)
    with pytest.raises(ResourceError, match=r"about 0\.7 GB of memory, and 0\.4 GB are free"):
        bench.check_room([50_000_000, 50_000_000])
    bench.check_room([50_000_000])
    monkeypatch.setattr(bench, "free_memory", lambda: 1)
    monkeypatch.setattr(bench, "Worker", None)
    with pytest.raises(ResourceError, match=r"0\.0 GB are free"):
        comparison.compare(few_words, None, [(1, 8)])
    monkeypatch.setattr(bench, "free_memory", lambda: None)
    bench.check_room([10**15])


def test_workers_take_turns(tmp_path: Path) -> None:
    """As many turns each, at least five, and a worker that fails is named."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["input_ids"], ["y"], to=TensorProto.FLOAT)],
        "cast",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", "s"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "cast.onnx"
    onnx.save(model, path)
    told: list[int] = []
    shapes = ((1, 4), (2, 8))
    found = bench.time_in_turns({"one": Timed(path), "other": Timed(path)}, shapes, 1, 0.001, told.append)
    assert told == [1, 1]
    for shape in shapes:
        counts = {len(timing.turns[shape]) for timing in found.timings.values()}
        assert len(counts) == 1
        assert min(counts) >= bench.TURNS
    assert bench.time_in_turns({"one": Timed(path)}, (), 1).timings == {"one": Timing({})}
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(ResourceError, match=r"broken\.onnx: the timing process failed"):
        bench.time_in_turns({"one": Timed(path), "broken": Timed(tmp_path / "broken.onnx")}, shapes, 1, 0.001)


def test_a_model_of_few_tokens_is_timed(few_words: Artifact) -> None:
    """Its inputs have no other ids than its table has."""
    with closing(bench.Worker(Timed(few_words.path, "fp32"), 1)) as worker:
        assert worker.turn((2, 8), 0.001)["milliseconds"] > 0


def test_a_worker_runs_nothing_of_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be a checkpoint that somebody has downloaded."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('code of the directory ran')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResourceError) as failed, closing(bench.Worker(Timed(tmp_path / "absent.onnx"), 1)) as worker:
        worker.turn((1, 8), 0.01)
    assert "code of the directory" not in str(failed.value)


_TALKING = """
import json, signal, sys

signal.alarm(60)  # for whoever waits for it
print("x" * 300_000, file=sys.stderr, flush=True)
for line in sys.stdin:
    print(json.dumps({"milliseconds": 1.0}), flush=True)
"""


def test_a_process_may_say_much_before_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds; of a failure the last line is told."""
    (tmp_path / "talking.py").write_text(_TALKING)
    (tmp_path / "failing.py").write_text(f"{_TALKING}\n".partition("for line")[0] + 'raise SystemExit("no memory")')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bench, "WORKER", "talking")
    with closing(bench.Worker(Timed(tmp_path), 1)) as worker:
        assert worker.turn((1, 4), 0.0) == {"milliseconds": 1.0}
    monkeypatch.setattr(bench, "WORKER", "failing")
    with closing(bench.Worker(Timed(tmp_path), 1)) as worker, pytest.raises(ResourceError, match="failed: no memory"):
        worker.turn((1, 4), 0.0)
