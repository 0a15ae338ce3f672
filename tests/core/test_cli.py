"""The command line: one clear line for every mistake, JSON where it is asked for."""

import argparse
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import BaseModel

from pgb_core import cli
from pgb_core.artifact import Artifact, open_artifact
from pgb_core.commands import COMMANDS, serve
from pgb_core.commands.figures import held
from pgb_core.compare.config import CompareConfig
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError
from pgb_core.inspect import stages
from pgb_core.measure import comparison
from pgb_core.measure.bench import Timing
from pgb_core.measure.comparison import DENSE_FORMS, dense
from pgb_core.options import METHODS
from pgb_core.pipeline import compress
from tests.core.small import checkpoint, settings


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small classification checkpoint."""
    return checkpoint(tmp_path / "model", "bert", "classification")


@pytest.fixture
def small(tmp_path: Path, model: Path, texts: Path) -> Artifact:
    """An artifact made without re-finetuning."""
    return compress(settings(model, tmp_path / "small", texts, epochs=0.0))


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_mistakes_are_one_line_and_leave_nothing(
    tmp_path: Path, model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checkpoint, data, labels, range, device: no traceback, non-zero, no output directory."""
    odd = tmp_path / "odd.tsv"
    odd.write_text("sentence\tlabel\ngood\tmaybe\n")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    lines = tmp_path / "lines.txt"
    lines.write_text("the film\n")
    out = tmp_path / "out"
    cases = [
        ((tmp_path / "nowhere", "--train", texts), "no such directory"),
        ((model, "--train", tmp_path / "absent.tsv"), "no such file"),
        ((model, "--train", odd), "odd.tsv:2: label 'maybe' is not one of the checkpoint's"),
        ((model, "--train", empty), "empty.jsonl: no rows"),
        ((model, "--train", lines), "--calibrate needs none; no row has one: a .txt file holds texts alone"),
        ((model, "--train", texts, "--eval", lines), "lines.txt:1: no label"),
        ((model, "--train", texts, "--keep", "0"), "keep 0 is out of range"),
        ((model, "--train", texts, "--keep", "50"), "keep 50 is out of range; use 0.01 to 1 (0.5 is 50%)"),
        ((model, "--train", texts, "--tau", "0.1"), "setting 'tau' is of --method "),
        ((model, "--train", texts, "--seed", str(1 << 64)), "seed 18446744073709551616 is out of range"),
        ((model,), "no data"),
        ((model, "--train", texts, "--task", "qa"), "not fine-tuned for qa"),
        ((model, "--train", texts, "--config", tmp_path / "absent.toml"), "cannot be read"),
        (
            (model, "--train", texts, "--trust-labels", "--keep", "0.011", "--structure", "disjoint", "--epochs", "0"),
            "no plan with attention keeps 1.1% of the weights; use --keep 0.",
        ),
        ((model, "--train", texts), "the checkpoint contradicts the labels: accuracy 0."),
    ]
    if not torch.cuda.is_available():
        cases.append(((model, "--train", texts, "--device", "cuda"), "no CUDA device here; use --device cpu"))
    for words, reason in cases:
        code, printed, error = run(capsys, "compress", *words, "--out", out)
        assert code == 1
        assert printed == ""
        lines = [line for line in error.splitlines() if line.startswith("pgb compress: ")]
        assert len(lines) == 1, error
        assert reason in lines[0]
        assert "Traceback" not in error
        assert not out.exists()
        kept = {path.name.partition("-")[0] for path in (tmp_path / ".out.work").glob("*")}
        assert kept <= ({"run.json", "records.json", "lock", "scores"} if reason.startswith("no plan") else set())
        shutil.rmtree(tmp_path / ".out.work", ignore_errors=True)


def test_the_size_that_an_error_names_can_be_made(
    tmp_path: Path, model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In place of one that is too small."""
    given = ("compress", model, "--train", texts, "--trust-labels", "--structure", "disjoint", "--epochs", "0")
    code, _, error = run(capsys, *given, "--keep", "0.011", "--out", tmp_path / "none")
    assert code == 1
    named = error.rpartition("use --keep ")[2].partition(" ")[0]
    code, printed, error = run(capsys, *given, "--keep", named, "--forms", "fp32", "--out", tmp_path / "least")
    assert code == 0, error
    assert "of the encoder's weights kept" in printed


def test_a_full_disk_is_one_line(
    tmp_path: Path, model: Path, texts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Met while a stage is kept; the workspace goes too."""

    def full(tensors: object, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pgb_core.run.workspace.save_file", full)
    code, _, error = run(
        capsys, "compress", model, "--train", texts, "--trust-labels", "--out", tmp_path / "out", "--epochs", "0"
    )
    assert code == 1
    assert "the disk is full" in error
    assert not (tmp_path / ".out.work").exists()


def test_compress_from_toml(tmp_path: Path, model: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings from a file, one of them overruled, and a line that says what was kept."""
    path = tmp_path / "run.toml"
    places = f'checkpoint = "{model}"\nout = "{tmp_path / "out"}"\ntrain = "{texts}"\n'
    path.write_text(f'{places}epochs = 0\nkeep = 0.9\nforms = ["fp32"]\n')
    code, printed, _ = run(capsys, "compress", "--config", path, "--keep", "0.5", "--eval", texts, "--trust-labels")
    assert code == 0
    assert "of the encoder's weights kept\n  form fp32: logits within" in printed
    assert "accuracy" in printed


def test_evaluate_prints_one_json_object(
    small: Artifact, model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a checkpoint and for an artifact; how far the work is stands on standard error."""
    for subject, kind in ((model, "checkpoint"), (small.path, "artifact")):
        code, printed, error = run(capsys, "evaluate", subject, "--data", texts, "--json")
        assert code == 0
        titles = (
            f"Loading the {kind} and checking it",
            "Reading the data",
            "Trying the model",
            "Scoring the model: done",
        )
        assert sorted(titles, key=error.find) == list(titles)
        assert all(title in error for title in titles)
        assert set(json.loads(printed)["metrics"]) == {"accuracy", "f1", "matthews"}
    unlabelled = texts.parent / "lines.txt"
    unlabelled.write_text("the film\n")
    code, _, error = run(capsys, "evaluate", small.path, "--data", unlabelled)
    assert code == 1
    assert "lines.txt:1: no label" in error


def test_an_artifact_is_evaluated_for_its_own_task(
    small: Artifact, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another one is refused; its own may be named."""
    words = ("evaluate", small.path, "--data", texts, "--task")
    assert run(capsys, *words, "classification")[0] == 0
    code, _, error = run(capsys, *words, "qa")
    assert code == 1
    assert f"--task qa: {small.path} is an artifact for classification; leave --task out" in error


def test_evaluate_reads_as_it_is_told_and_says_what_it_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error; a metric that is not defined is null with its reason, in JSON and in words."""
    data = tmp_path / "rows.csv"
    data.write_text("id,what,mood\n1,the film,true\n2,a song,true\n")
    words = ("evaluate", model, "--data", data, "--text-column", "what", "--label-column", "mood")
    code, printed, error = run(capsys, *words, "--json")
    assert code == 0
    found = json.loads(printed, parse_constant=pytest.fail)
    assert found["metrics"]["matthews"] is None
    assert found["reasons"]["matthews"] == "all rows have one label"
    assert "rows.csv: 2 rows, 3 columns: text from 'what', label from 'mood'; 'id' is not read" in error
    assert "labels are ids 0..1 (written with true for 1, false for 0): 0 is LABEL_0 (0), 1 is LABEL_1 (2)" in error
    assert "warning: matthews is not defined: all rows have one label" in error
    code, printed, _ = run(capsys, *words)
    assert "matthews                     not defined" in printed
    code, _, error = run(capsys, *words, "--labels", "names")
    assert code == 1
    assert "rows.csv:2: label 'true' is not one of the checkpoint's: LABEL_0, LABEL_1" in error


def test_inspect_shows_the_structure(small: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table, as JSON, and as a page that needs nothing from elsewhere."""
    code, printed, _ = run(capsys, "inspect", small.path)
    assert code == 0
    assert len([line for line in printed.splitlines() if line[:2] in ("0.", "1.", "2.", "3.")]) == 24
    code, printed, _ = run(capsys, "inspect", small.path, "--json")
    assert json.loads(printed)["task"] == "classification"
    page = tmp_path / "page.html"
    assert run(capsys, "inspect", small.path, "--html", page)[0] == 0
    text = page.read_text()
    assert text.count("<svg") == 24
    assert "http" not in text
    assert "<script" not in text
    for place, said in (
        (small.path / "plan.json", "is in the artifact"),
        (tmp_path / "no" / "p.html", "cannot be written"),
    ):
        code, _, error = run(capsys, "inspect", small.path, "--html", place)
        assert (code, f"--html {place}: {said}" in error) == (1, True)
    assert open_artifact(small.path).digest == small.digest


def test_inspect_shows_one_thing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that would change nothing is refused before anything is read."""
    code, _, error = run(capsys, "inspect", tmp_path, "--form", "int8")
    assert code == 1
    assert "--form int8: says which form --triton is for; give --triton, or leave --form out" in error
    for more in (("--json", "--triton"), ("--html", "page.html", "--json"), ("--html", "page.html", "--triton")):
        with pytest.raises(SystemExit):
            run(capsys, "inspect", tmp_path, *more)
        assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("measured", "field"),
    [
        ({"stages": 3}, "measured.stages"),
        ({"stages": {"plan": 3}}, "measured.stages"),
        ({"stages": {"plan": {"seconds": "1"}}}, "measured.stages"),
        ({"stages": {"plan": {"steps": [1]}}}, "measured.stages"),
        ({"stage_accuracy": {"dense": {"accuracy": 1.0}}}, "measured.stage_accuracy"),
        ({"stage_accuracy": {"rows": 2, "dense": 3}}, "measured.stage_accuracy"),
        ({"accuracy": {"rows": 2, "dense": {"accuracy": 1.0}}}, "measured.accuracy"),
    ],
)
def test_inspect_names_a_field_that_somebody_edited(measured: dict[str, object], field: str) -> None:
    """Where it is no longer what was written."""
    with pytest.raises(ArtifactError, match=rf"manifest: {field} is not as pgb compress writes it; correct it"):
        stages(measured)


def test_inspect_says_when_channels_have_another_order(
    tmp_path: Path, model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then columns of what reads the stream are not at their original places."""
    for structure, said in (("shared", False), ("nested", True)):
        out = tmp_path / structure
        compress(settings(model, out, texts, epochs=0.0, structure=structure))
        assert ("the channels of the residual stream are reordered" in run(capsys, "inspect", out)[1]) == said
        run(capsys, "inspect", out, "--html", tmp_path / "page.html")
        assert ("in the one order that the plan gives them" in (tmp_path / "page.html").read_text()) == said


def test_bench_gives_ratios_in_one_run(small: Artifact, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every form of the artifact and the dense model in every form, at the shapes that fit the model."""
    words = (
        "bench",
        small.path,
        "--against",
        model,
        "--shapes",
        "1x8,2x16,1x384",
        "--seconds",
        "0.01",
        "--threads",
        "1",
    )
    code, printed, error = run(capsys, *words, "--json")
    assert code == 0
    assert "Opening and timing every form: done in" in error
    found = json.loads(printed)
    assert [(row["batch"], row["tokens"]) for row in found["rows"]] == [(1, 8), (2, 16)]
    timed = {"fp32", *map(dense, DENSE_FORMS["cpu"])} - set(found["left_out"])
    assert {"fp32", "dense fused", "dense fp32", "dense int8"} <= timed
    for row in found["rows"]:
        assert set(row["milliseconds"]) == set(row["speedup"]) == set(row["speedup_range"]) == timed
        assert row["fastest_dense"] in map(dense, DENSE_FORMS["cpu"])
        assert row["speedup"][row["fastest_dense"]] == 1
        assert min(row["speedup"].values()) > 0
    assert set(found["bytes"]) == timed
    assert found["unlike"] is None
    assert run(capsys, "bench", small.path, "--shapes", "1by8")[0] == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_bench_fits_the_terminal_that_it_prints_on(
    terminal: bool, small: Artifact, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file a model has one line."""
    shapes = ((1, 32), (1, 128), (8, 128))
    found = comparison.Comparison(shapes, {"int8": Timing(dict.fromkeys(shapes, (2.0,)))}, 1)
    monkeypatch.setattr(comparison, "compare", lambda *given, **more: found)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    code, printed, _ = run(capsys, "bench", small.path)
    assert code == 0
    assert len([line for line in printed.splitlines() if line.startswith("int8")]) == (2 if terminal else 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bench_says_that_there_is_no_gpu(small: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, with the reason."""
    code, _, said = run(capsys, "bench", small.path, "--device", "cuda")
    assert code == 1
    assert "runs on cuda here" in said
    assert "has no CUDA" in said


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["bench", "small", "--against=~/x"], "against"),
        (["evaluate", "~/x", "--data=rows"], "model"),
        (["evaluate", "small", "--data=~/x"], "data"),
        (["inspect", "small", "--html=~/x"], "html"),
        (["push", "~/x", "a/b"], "artifact"),
        (["compress", "--config=~/x"], "config"),
        (["demo", "--dir=~/x"], "dir"),
    ],
)
def test_a_path_may_begin_with_the_user_s_home(given: list[str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell writes it out behind an equals sign, or in quotes."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert getattr(cli._parser().parse_args(given), name) == "/home/ann/x"


def test_serve_becomes_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything that it was given, in that order."""
    became: list[list[str]] = []
    monkeypatch.setattr(serve.os, "execv", lambda path, command: became.append(command))
    given = ["small", "--models-dir", "all", "other=x", "--ui=false", "--port", "1"]
    assert cli.main(["serve", *given]) == 0
    assert became == [[sys.executable, "-P", "-m", "service", *given]]


def test_plan_capacity_becomes_the_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which explains itself, too."""
    became: list[list[str]] = []
    monkeypatch.setattr(serve.os, "execv", lambda path, command: became.append(command))
    for given in (["small", "--rate", "5"], ["--help"]):
        assert cli.main(["plan-capacity", *given]) == 0
        assert became.pop() == [sys.executable, "-P", "-m", "service.planning", *given]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (
            "compress",
            "checkpoint --task --out --keep --budget --structure --train --calibrate --eval --epochs --distill "
            "--no-distill --config --device --forms --threads --seed --resume",
        ),
        ("evaluate", "model --data --form --task --json"),
        ("inspect", "artifact --html --json --triton --form"),
        ("push", "artifact repo --private HF_TOKEN"),
        ("bench", "artifact --against --shapes --threads --device --seconds --json"),
        ("serve", "ARTIFACT --host --port --models-dir --keys-file"),
        ("demo", "--dir --host --port --threads --no-serve"),
    ],
)
def test_every_command_explains_itself(command: str, names: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help exits 0 and names its arguments."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: pgb {command}" in said
    assert "{'" not in said  # a sign of percent is no format
    assert not [name for name in names.split() if name not in said]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_of_a_command_is_explained(command: str) -> None:
    """None has a name alone."""
    parser = argparse.ArgumentParser()
    COMMANDS[command].add(parser)
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize(
    ("command", "settings"), [("compress", (CompressConfig, *METHODS.values())), ("compare", (CompareConfig,))]
)
def test_help_has_every_description_as_it_is_written(
    command: str,
    settings: Sequence[type[BaseModel]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A percent sign in it is one."""
    monkeypatch.setenv("COLUMNS", "100000")
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    told = [
        str(field.description)
        for kind in settings
        for name, field in kind.model_fields.items()
        if name not in ("options", "further")
    ]
    assert [description for description in told if description not in said] == []


def test_methods_share_the_flag_of_an_option_that_they_share(capsys: pytest.CaptureFixture[str]) -> None:
    """With the values of all, and the help says whose each one is."""
    with pytest.raises(SystemExit):
        cli.main(["compress", "--help"])
    said = " ".join(
        capsys.readouterr().out.partition("of more than one --method:")[2].partition("--method ")[0].split()
    )
    said = said.partition(" --g-max")[0].partition("--structure")[2]
    fields = [options.model_fields["structure"] for options in METHODS.values() if "structure" in options.model_fields]
    values = dict.fromkeys(value for field in fields for value in get_args(field.annotation))
    assert said.startswith(f" {{{','.join(values)}}} pgb: ")
    for method, options in METHODS.items():
        if "structure" in options.model_fields:
            assert f"{method}: {' '.join(str(options.model_fields['structure'].description).split())}" in said


def test_only_the_command_itself_says_how_threads_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that calls `main` has its own environment."""
    said: list[bool] = []
    monkeypatch.setattr("pgb_core.machine.wait_passively", lambda: said.append(True))
    monkeypatch.setattr("pgb_core.cli._tidy_up_when_stopped", lambda: None)  # not in the process of the tests
    words = ["inspect", str(tmp_path / "absent")]
    assert cli.main(words) == 1
    assert said == []
    monkeypatch.setattr(sys, "argv", ["pgb", *words])
    assert cli.main() == 1
    assert said == [True]


_WAITING = """
import signal, sys, tempfile, time
from pgb_core import cli, hub

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where some are ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def wait(*_):
    with tempfile.TemporaryDirectory(dir=sys.argv[2]):
        print("begun", flush=True)
        time.sleep(60)

hub.push = wait
sys.exit(cli.main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_stopped_tidies_up(number: signal.Signals, tmp_path: Path) -> None:
    """Whichever signal stops it, in one line."""
    given = [sys.executable, "-c", _WAITING, "push", str(tmp_path), "owner/small"]
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.communicate()[1] == "pgb push: stopped\n"
    assert process.returncode == 128 + number
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "how"), [((), ""), (("--no-resume",), " without --no-resume")])
def test_a_stopped_run_says_how_to_continue_it(
    words: tuple[str, ...], how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command would throw the stages away where it has --no-resume."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pgb_core.commands.compress._compressed", stopped)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    code, _, error = run(capsys, "compress", "model", "--train", "rows.tsv", "--out", "small", *words)
    assert code == 128 + signal.SIGINT
    assert f"stopped; run the same command again{how} to continue from the stages that are finished" in error


def test_a_reader_that_has_enough_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `| head` is one; nothing is said, then or at the end of the process."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("pgb_core.hub.push", lambda *_: "address")
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(["push", "small", "owner/small"]) == 141
    assert not capsys.readouterr().err


def test_a_name_that_a_terminal_cannot_write_is_escaped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The work is done by then; it must not end in a traceback."""
    monkeypatch.setattr("pgb_core.cli._tidy_up_when_stopped", lambda: None)  # not in the process of the tests
    with io.TextIOWrapper(io.BytesIO(), "ascii") as terminal:
        monkeypatch.setattr(sys, "argv", ["pgb", "inspect", str(tmp_path / "absent")])
        monkeypatch.setattr(sys, "stdout", terminal)
        assert cli.main() == 1
        print("größe", file=terminal, flush=True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("compress", "c", "--train", "a.csv", "--train", "b.csv"), "argument --train: is given twice"),
        (("compress", "c", "--forms", "fp32", "--forms", "int8"), "argument --forms: is given twice"),
        (("evaluate", "c", "--data", "a.csv", "--data", "a.csv"), "argument --data: is given twice"),
        (("bench", "a", "--seconds", "1", "--seconds", "2"), "argument --seconds: is given twice"),
        (("compress", "c", "--resume", "--no-resume"), "--resume and --no-resume are opposites; give one of them"),
        (("compress", "c", "--eval", ""), "argument --eval: is given without a value"),
        (("compress", "c", "--config", ""), "argument --config: is given without a value"),
        (("inspect", "a", "--html", ""), "argument --html: is given without a value"),
        (("compare", "c", "--text-column", ""), "argument --text-column: is given without a value"),
    ],
)
def test_a_flag_has_one_value(words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """argparse takes the last of two, and a variable of a shell that nobody set is an empty one."""
    with pytest.raises(SystemExit):
        cli.main(words)
    assert reason in capsys.readouterr().err


def test_the_cache_alone_may_be_named_by_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which keeps none. Label columns are as many as there are."""
    given = ("compress", tmp_path / "none", "--out", tmp_path / "o", "--keep", "1", "--cache", "")
    code, _, error = run(capsys, *given, "--label-column", "a", "--label-column", "b")
    assert code == 1
    assert "no such directory" in error


def test_a_name_that_leaves_no_room_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written beside the output has a longer name, and is there last."""
    for command in (("compress",), ("compress", "--max-drop", "1", "--eval", "e"), ("compare", "--eval", "e")):
        code, _, error = run(capsys, command[0], "c", "--train", "t", *command[1:], "--out", tmp_path / ("ö" * 120))
        assert code == 1
        assert "the name has 240 bytes, and at most 200 leave room" in error


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e400"])
def test_bench_takes_a_time_that_ends(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before it opens anything."""
    code, _, error = run(capsys, "bench", "none", "--seconds", seconds)
    assert code == 1
    assert "is out of range; use above 0, at most 600" in error


def test_bench_takes_a_batch_that_memory_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the model takes."""
    code, _, error = run(capsys, "bench", "small", "--shapes", "1x32,1000000x64")
    assert code == 1
    assert "--shapes 1000000x64: has more than 131,072 tokens in all; give a smaller batch" in error


def test_an_argument_that_no_command_has_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """serve alone passes on what it does not know. A flag is not guessed from its beginning."""
    for words in (["--dato", "x"], ["--text", "x"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["evaluate", "model", "--data", "file", *words])
        assert stopped.value.code == 2
        said = f"unrecognized arguments: {words[0]} x; see pgb evaluate --help"
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("measured", "ran", "said"),
    [
        ({"parity": {"max_difference": 2e-6, "inputs": 4}}, True, "logits within 2.0e-06 on 4 inputs"),
        ({"equal_answers": 0.995, "inputs": 200}, True, "99.5% of the answers equal on 200 inputs"),
        (
            {"equal_answers": 0.9, "inputs": 9, "drop": 0.25},
            True,
            "90.0% of the answers equal on 9 inputs, loses 0.25 points",
        ),
        (
            {"equal_answers": 0.9, "inputs": 9, "drop": -0.25},
            True,
            "90.0% of the answers equal on 9 inputs, gains 0.25 points",
        ),
        ({}, True, "the PyTorch model itself"),
        ({}, False, "not run yet: its runtime or device is not available here"),
    ],
)
def test_what_each_form_is_worth_is_told(measured: dict[str, object], ran: bool, said: str) -> None:
    """Also of an artifact that does not carry fp32."""
    assert held(measured, ran) == said
