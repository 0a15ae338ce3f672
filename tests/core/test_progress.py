"""What is said of progress, by a clock that the test moves."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pgb_core.methods import method_of
from pgb_core.methods.steps.train import TEACHING
from pgb_core.pipeline import compress
from pgb_core.progress.bars import Bars
from pgb_core.progress.part import PartReport
from pgb_core.progress.remaining import Estimate, about
from pgb_core.progress.report import Report
from pgb_core.run import effort
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import locked
from pgb_core.tasks.features import token_count
from tests.core.small import checkpoint, settings
from tests.reports import Heard


class Clock:
    """Stands still unless it is moved."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def lines(clock: Clock, terminal: bool = False) -> tuple[Bars, io.StringIO]:
    """Progress that is written into a buffer."""
    out = io.StringIO()
    return Bars(Console(file=out, width=200, force_terminal=terminal), clock=clock), out


def test_lines_come_at_begin_and_end_and_at_a_pace_between() -> None:
    """With what is done, what is left of the stage and of the job, and the note."""
    clock = Clock()
    bars, out = lines(clock)
    with bars:
        bars.begin({"one": 100.0, "two": 300.0})
        bars.stage("one", 50)
        bars.advance(0)
        for _ in range(50):
            clock.now += 0.5
            bars.advance(1, "loss 0.5")
        bars.stage("two", 10)
        clock.now += 80
    assert out.getvalue().splitlines() == [
        "one (0% of the whole job done)",
        "  24 of 50, 48%, about 10 s left of this stage, 12% of the whole job done, about 90 s left, loss 0.5",
        "  48 of 50, 96%, a few seconds left of this stage, 24% of the whole job done, about 80 s left, loss 0.5",
        "one: done in 25.0 s",
        "two (25% of the whole job done, about 80 s left)",
        "two: done in 1 min 20 s",
    ]


def test_a_stage_that_nobody_announced_has_lines_too() -> None:
    """Without a total there is a count, and nothing is made up."""
    clock = Clock()
    bars, out = lines(clock)
    with bars:
        bars.stage("reading")
        clock.now += 13
        bars.advance(2048)
    assert out.getvalue().splitlines() == ["reading", "  2,048 done", "reading: done in 13.0 s"]


def test_a_stage_after_all_that_were_announced_is_not_at_the_end() -> None:
    """Its lines do not say that the whole job is done."""
    clock = Clock()
    bars, out = lines(clock)
    with bars:
        bars.begin({"one": 1.0})
        bars.stage("one", 1)
        bars.advance(1)
        bars.stage("timing")
        clock.now += 13
        bars.advance(1)
    assert out.getvalue().splitlines()[2:] == ["timing", "  1 done", "timing: done in 13.0 s"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_note_is_wrapped_between_words_in_a_terminal_alone(terminal: bool) -> None:
    """A file keeps a line of its own for each."""
    out = io.StringIO()
    bars = Bars(Console(file=out, width=40, force_terminal=terminal))
    text = "keeps 94.9% of the importance; accuracy is expected between 81.4 and 82.6"
    bars.note(text)
    said = out.getvalue().splitlines()
    assert " ".join(" ".join(said).split()) == text
    assert (len(said) > 1) is terminal
    assert max(map(len, said)) <= 40 or not terminal


def test_a_part_is_named_once() -> None:
    """Also where what it says begins with its name."""
    told = Heard()
    part = PartReport(told, "keep 0.5")
    part.note("keep 0.5 keeps 94.9%")
    part.note("keep 0.55 is another")
    assert told.notes == ["keep 0.5 keeps 94.9%", "keep 0.5: keep 0.55 is another"]


def test_a_terminal_has_a_bar_for_the_job_and_one_a_stage() -> None:
    """The last picture has both at their end."""
    clock = Clock()
    bars, out = lines(clock, terminal=True)
    with bars:
        bars.begin({"one": 1.0, "two": 1.0})
        bars.stage("one", 2)
        bars.advance(2, "loss 1.0")
        bars.stage("two")
    last = out.getvalue()[out.getvalue().rindex("The whole job") :]
    assert "100%" in last
    assert "2 of 2" in last
    assert "two" in last


def test_what_is_left_follows_the_pace_of_what_was_done() -> None:
    """The stage by its own pace, stages to come by the pace of all work."""
    clock = Clock()
    estimate = Estimate(clock)
    estimate.begin({"one": 10.0, "two": 20.0, "three": 70.0})
    assert (estimate.whole_share, estimate.whole_left) == (0.0, None)
    estimate.stage("one", 4)
    estimate.advance(0)
    clock.now += 10
    estimate.advance(2)
    assert estimate.left == pytest.approx(10)
    assert estimate.whole_left == pytest.approx(190)
    clock.now += 10
    estimate.advance(2)
    estimate.stage("two", None)
    clock.now += 15
    assert estimate.left == pytest.approx(25)
    assert estimate.whole_share == pytest.approx(0.1)
    clock.now += 45
    assert estimate.left == 0
    estimate.stage("three", 10)
    assert estimate.whole_left == pytest.approx(70 * 80 / 30)


def test_what_an_earlier_run_did_takes_no_time() -> None:
    """Stages that are not begun are behind, and steps that are told at once were done before."""
    clock = Clock()
    estimate = Estimate(clock)
    estimate.begin({"one": 50.0, "two": 50.0})
    estimate.stage("two", 100)
    estimate.advance(80)
    assert estimate.whole_share == pytest.approx(0.8)
    assert estimate.left is None
    clock.now += 10
    estimate.advance(10)
    assert estimate.left == pytest.approx(10)
    assert estimate.whole_left == pytest.approx(10)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (31, "about 30 s"),
        (100, "about 2 min"),
        (3540, "about 59 min"),
        (3590, "about 1 h 0 min"),
        (8000, "about 2 h 13 min"),
    ],
)
def test_time_left_is_as_coarse_as_it_is_known(seconds: float, words: str) -> None:
    """No seconds of an hour."""
    assert about(seconds) == words


@pytest.mark.parametrize("task", ["classification", "qa"])
def test_the_stages_that_are_announced_are_those_that_come(
    task: str, tmp_path: Path, texts: Path, questions: Path
) -> None:
    """In their order, each with work, and advanced to its total."""
    data = texts if task == "classification" else questions
    model = checkpoint(tmp_path / "model", "bert", task)
    config = settings(model, tmp_path / "small", data, eval=str(data), epochs=0.5)

    class Recorder(Report):
        def __init__(self) -> None:
            self.seen: dict[str, list[int | None]] = {}

        def stage(self, title: str, total: int | None = None) -> None:
            self.seen[title] = [total, 0]

        def advance(self, done: int = 1, note: str = "") -> None:
            [*_, (total, so_far)] = self.seen.values()
            self.seen[list(self.seen)[-1]] = [total, (so_far or 0) + done]

    recorder = Recorder()
    compress(config, recorder, Shared(foretell=False))  # a forecast computes some outputs of the dense model
    with locked(tmp_path / "other") as workspace:
        run = Run.begin(config, Report(), workspace, Shared())
        found = effort.job_effort(run, method_of(config).effort(run))
        whole = config.model_copy(update={"keep": 1.0, "eval": None})
        dense = replace(run, config=whole, inputs=replace(run.inputs, held_out=None))
        assert list(effort.job_effort(dense, method_of(whole).effort(dense))) == [
            "Exporting every form and holding it against the model"
        ]
        less, forms, rows = (
            effort.job_effort(one, {})[effort.EXPORTING]
            for one in (run, replace(run, config=config.model_copy(update={"forms": (*config.forms, "gpu")})), dense)
        )
        assert less + effort.FORM < forms  # each is built, and runs the rows
        assert rows > effort.FORM
        one, brief = (
            replace(run, config=config.model_copy(update=length)) for length in ({"steps": 1}, {"epochs": 1e-320})
        )
        assert method_of(config).effort(one) == method_of(config).effort(brief)  # a step at least
        every = token_count(run.inputs.training)
        for epochs in (0.5, 1.0, 3.0):  # once for each row, in all trainings of a run
            several = [
                settings(model, tmp_path / "small", data, eval=str(data), epochs=epochs, method=method)
                for method in ("pgb", "voita")
            ]
            works = [method_of(one).effort(replace(run, config=one))[TEACHING] for one in several]
            assert works[0] == works[1]
            assert 0.3 * every < works[0] < 0.8 * every if epochs < 1 else works[0] == every
    first = ["Loading the checkpoint and checking it against transformers", "Reading the data"]
    assert [*first, f"Trying the model on the labels of {data.name}", *found] == list(recorder.seen)
    assert all(work > 0 for work in found.values())
    assert {title: pair for title, pair in recorder.seen.items() if pair[0] not in (None, pair[1])} == {}
